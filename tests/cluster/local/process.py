"""Starts and stops one long-running program by its pid, with its log beside it.

A pid alone is no identity (numbers are reused), so the pid file also keeps the process's start time from /proc. Waiting
uses a pidfd, which works for processes that are nobody's child here: `down` runs in another process than `up`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A program with its argument list; `directory` holds `<name>.pid` and `<name>.log`.

    `dies_with_parent`: the kernel kills it when the thread that called `start` ends. For tests: nothing outlives
    pytest, however pytest ends; so call `start` from the main thread. Otherwise it runs on in a session of its own.
    """

    name: str
    argv: Sequence[str]
    directory: Path
    dies_with_parent: bool = False
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The file that takes its stdout and stderr."""
        return self.directory / f"{self.name}.log"

    @property
    def _pidfile(self) -> Path:
        return self.directory / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Return the pid while the program runs, else None."""
        try:
            record = json.loads(self._pidfile.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return record["pid"] if record["born"] is not None and born(record["pid"]) == record["born"] else None

    def current(self) -> bool:
        """Tell whether it runs and was started with the same arguments as it would be now."""
        return self.pid() is not None and json.loads(self._pidfile.read_text())["digest"] == self._digest()

    def start(self) -> bool:
        """Start it unless it runs already; one that runs with other arguments is replaced. True when it was started."""
        if self.current():
            return False
        self.stop()
        self.directory.mkdir(parents=True, exist_ok=True)
        argv = list(self.argv)
        if self.dies_with_parent:
            # The shell looks once more: a parent that died before the signal was asked for sends none.
            alive = f'[ "$PPID" = {os.getpid()} ] && exec "$@"'
            argv = ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", alive, "sh", *argv]
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        record = {"pid": child.pid, "born": born(child.pid), "digest": self._digest()}
        self._pidfile.write_text(json.dumps(record))
        # Popen warns about a child that is still running when it is collected; `pid()` reaps it instead.
        child.returncode = 0
        return True

    def stop(self, grace: float = 0.0) -> None:
        """End it: SIGTERM and up to `grace` seconds, then SIGKILL. Returns when it is gone; nothing to end is fine."""
        pid = self.pid()
        if pid is not None:
            end(pid, grace)
        self._pidfile.unlink(missing_ok=True)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log, for error messages."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _digest(self) -> str:
        return hashlib.sha256(json.dumps([list(self.argv), dict(self.env)]).encode()).hexdigest()


def born(pid: int) -> str | None:
    """Return the start time of a running process in kernel ticks, else None. A zombie does not run; ours is reaped."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state == "Z":
        with contextlib.suppress(ChildProcessError):  # somebody else's child: they will reap it
            os.waitpid(pid, os.WNOHANG)
        return None
    return rest[18]  # field 22 of proc(5)'s stat, counted from the state


def end(pid: int, grace: float) -> None:
    """End a process that need not be a child of this one, and wait until it is gone."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
            if number == signal.SIGTERM and not grace:
                continue
            signal.pidfd_send_signal(watched, number)
            if select.select([watched], [], [], seconds)[0]:
                break
        else:
            raise TimeoutError(f"process {pid} survives SIGKILL: it hangs in the kernel")
    except ProcessLookupError:
        pass
    finally:
        os.close(watched)
    born(pid)  # reaps it when it was ours
