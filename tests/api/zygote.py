"""Operators in a moment: a process that has imported everything forks one for each line that it reads.

An operator's imports take two seconds of CPU, and the tests start and kill hundreds. What differs from a process
started by `python -m slipway` is only that: each fork has an environment, a log and signals of its own, and kill -9
takes it alone. The whole start is tried in tests/e2e, and by Operator(..., fresh=True).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Never

from tests.cluster.paths import REPOSITORY

# Seconds by which the clock of an operator is ahead of the machine's.
CLOCK_AHEAD = "SLIPWAY_TESTS_CLOCK_AHEAD"


class Forked:
    """What subprocess.Popen is for an operator that was forked elsewhere. Made by Zygote."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote, self.pid = zygote, pid

    def poll(self) -> int | None:
        """The exit code, a signal's negative, or None while it runs."""
        return self._zygote.ends.get(self.pid)

    def wait(self, timeout: float) -> int:
        """Raises subprocess.TimeoutExpired."""
        with self._zygote.told:
            if not self._zygote.told.wait_for(lambda: self.pid in self._zygote.ends, timeout):
                raise subprocess.TimeoutExpired(f"operator {self.pid}", timeout)
        return self._zygote.ends[self.pid]

    def send_signal(self, number: int) -> None:
        """None that has ended is hit: its number is kept until the zygote has told."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Zygote:
    """One per process of the tests; ends with it."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        self.told = threading.Condition()
        self._births: list[int] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=os.environ | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._birth = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self._process.kill)

    def fork(self, env: Mapping[str, str], log: Path) -> Forked:
        """A running operator, appending to `log`."""
        with self._birth, self.told:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"env": dict(env), "log": str(log)}) + "\n")
            self._process.stdin.flush()
            assert self.told.wait_for(lambda: self._births or self._process.poll() is not None, 120), "no operator yet"
            return Forked(self, self._births.pop())

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            with self.told:
                if "born" in event:
                    # A machine that has been up for long gives numbers out again: this one has not ended.
                    self.ends.pop(event["born"], None)
                    self._births.append(event["born"])
                else:
                    self.ends[event["ended"]] = event["code"]
                self.told.notify_all()


def _serve() -> None:
    """Forks for each line; tells of each birth and each end."""
    import slipway.main  # noqa: F401  (what the forks have in common)

    said = threading.Lock()

    def say(**event: int) -> None:
        with said:
            print(json.dumps(event), flush=True)

    def mourn(pid: int) -> None:
        say(ended=pid, code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    for line in sys.stdin:
        request = json.loads(line)
        # A fork in the middle of another thread's `say` would inherit a lock that nobody opens.
        with said:
            pid = os.fork()
        if not pid:
            _become(**request)
        say(born=pid)
        threading.Thread(target=mourn, args=(pid,), daemon=True).start()


def _become(env: dict[str, str], log: str) -> Never:
    code: Any = 1
    try:
        nothing, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for target, source in ((0, nothing), (1, out), (2, out)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(env)
        _set_clock(float(env.get(CLOCK_AHEAD, "0")))
        from slipway.main import run

        run()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        # Nothing may run on into the zygote's loop; the log has it, and whoever waits gets the code.
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _set_clock(ahead: float) -> None:
    """The clock of this process, by what Python's modules of the operator call datetime; monotonic time stays."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead)

    for name, module in [*sys.modules.items()] if ahead else []:
        if name.startswith("slipway.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]


_zygotes: list[Zygote] = []


def zygote() -> Zygote:
    """This process' one, started when it is first asked for."""
    if not _zygotes:
        _zygotes.append(Zygote())
    return _zygotes[0]


if __name__ == "__main__":
    _serve()
