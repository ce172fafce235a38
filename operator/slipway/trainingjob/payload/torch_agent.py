"""Run torchrun with the exit code and the last words of the process that failed first. Also a program of its own.

torchrun itself always exits with 1 and ends its log with a stack of its own; Kubernetes, and the failure policy of a
TrainingJob, see only the exit code and the log's end. All arguments and PET_* variables are torchrun's. A recipe calls
`python -m workloads torchrun ARGUMENTS`. To an image of the user's this file travels as the payload torch_agent.py,
and `torch_agent.py TORCHRUN ARGUMENTS` runs it by the Python that torchrun there belongs to; so only Python's own
library and torch are used here, 3.8 and later.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

# As in workloads.errors, which is not there in an image of the user's.
SUCCESS, FAILURE, TERMINATED = 0, 1, 143
NOT_FOUND = 127
# Where the kernel counts the processes of this container that it killed for want of memory: cgroup v2's, then v1's.
MEMORY_EVENTS = [Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control")]
# Instead of torchrun's name: the Python that runs this file has the right torch.
HERE = "-"


def main(arguments: list[str]) -> int:
    """Run until all processes of this node have ended. Returns 0, or the code of the first failure."""
    # torch installs its own handler later; until then a first process of a container would ignore SIGTERM.
    signal.signal(signal.SIGTERM, _terminated)
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Of the threads that it sets the trainer takes care itself; five lines about them in every pod's log help nobody.
    logging.getLogger("torch.distributed.run").setLevel(logging.ERROR)
    before = _memory_kills()
    try:
        parsed = run.parse_args(arguments)  # type: ignore[no-untyped-call]
        # torchrun fills its macros, such as ${local_rank}, into each argument and makes `$` of `$$` on the way: a
        # shell's process number, or a price in a sentence, was not what the program got.
        parsed.training_script_args = [word.replace("$$", "$$$$") for word in parsed.training_script_args]
        run.run(parsed)  # type: ignore[no-untyped-call]
    except SignalException as error:
        print(f"terminated by {error.sigval.name}; the processes have ended", file=sys.stderr, flush=True)
        return 128 + int(error.sigval)
    except ChildFailedError as error:
        code, words = _explain(error, starved=_memory_kills() > before)
        print(words, file=sys.stderr, flush=True)
        return code
    return SUCCESS


def start(torchrun: str, arguments: list[str]) -> int:
    """Run main by the Python that `torchrun` names in its first line: an image may have more than one."""
    if torchrun != HERE:
        found = shutil.which(torchrun)
        python = _python_of(found) if found else None
        if python and not _same(python, sys.executable):
            os.execv(python, [python, __file__, HERE, *arguments])  # noqa: S606
    if importlib.util.find_spec("torch") is not None:
        return main(arguments)
    if torchrun != HERE and found:
        # Its first line says nothing of use: exit codes will be torchrun's own.
        os.execv(found, [found, *arguments])  # noqa: S606
    print(f"error: the image has no {torchrun}: take one with PyTorch, or set launcher to plain", file=sys.stderr)
    return NOT_FOUND


def _python_of(program: str) -> str | None:
    with Path(program).open("rb") as file:
        words = file.readline(512).decode(errors="replace").strip()[2:].split()
    if len(words) > 1 and words[0].endswith("/env"):
        words = [shutil.which(words[-1]) or ""]
    return words[0] if words and re.search(r"python[0-9.]*$", words[0]) and os.access(words[0], os.X_OK) else None


def _same(one: str, other: str) -> bool:
    """Tell whether two Pythons are of one environment, and not only the same file: a virtual one's Python is a link."""
    return Path(one).samefile(other) and Path(one).parent.resolve() == Path(other).parent.resolve()


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _memory_kills() -> int:
    for path in MEMORY_EVENTS:
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return 0


def _cause(error: ChildFailedError) -> tuple[int, ProcessFailure]:
    """The first failure; but a process killed by a signal explains the plain errors of its peers, whatever the order.

    SIGTERM explains nothing: the agent sends it to the rest after a failure.
    """
    first = error.get_first_failure()
    killed = [(rank, failure) for rank, failure in error.failures.items() if _was_killed(failure)]
    return killed[0] if first[1].exitcode == FAILURE and killed else first


def _was_killed(failure: ProcessFailure) -> bool:
    return failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM


def _explain(error: ChildFailedError, *, starved: bool) -> tuple[int, str]:
    rank, failure = _cause(error)
    # A shell that ran the program tells of its end by a signal in its own exit code.
    number = -failure.exitcode if failure.exitcode < 0 else failure.exitcode - 128
    if number == signal.SIGKILL and starved:
        # The operator reads the word in brackets: the kubelet says OOMKilled only where the first process was killed.
        words = f"error: process {rank} was killed by SIGKILL [OOMKilled]: raise the memory limit, or use less"
        return 128 + number, words
    if failure.exitcode < 0:
        name = failure.signal_name()
        reason = " (out of memory, or killed from outside)" if name == "SIGKILL" else ""
        return 128 + number, f"error: process {rank} was killed by {name}{reason}"
    if failure.exitcode == TERMINATED:
        return failure.exitcode, f"terminated: process {rank} has saved what it could"
    known = isinstance(failure.message, str) and failure.error_file != "<N/A>"
    words = failure.message if known else f"it ended with code {failure.exitcode}; its log above says why"
    return failure.exitcode, f"error: process {rank}: {words}"


if __name__ == "__main__":
    sys.exit(start(sys.argv[1], sys.argv[2:]))
