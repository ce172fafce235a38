"""`python -m workloads torchrun ...`: torchrun, with the exit code and the last words of the process that failed first.

torchrun itself always exits with 1 and ends its log with a stack of its own; Kubernetes, and the failure policy of a
TrainingJob, see only the exit code and the log's end. All arguments and PET_* variables are torchrun's.
"""

import logging
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from workloads import errors

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure


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
    try:
        run.run(run.parse_args(arguments))  # type: ignore[no-untyped-call]
    except SignalException as error:
        print(f"terminated by {error.sigval.name}; the processes have ended", file=sys.stderr, flush=True)
        return 128 + int(error.sigval)
    except ChildFailedError as error:
        code, words = _explain(error)
        print(words, file=sys.stderr, flush=True)
        return code
    return errors.SUCCESS


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(errors.TERMINATED)


def _cause(error: "ChildFailedError") -> "tuple[int, ProcessFailure]":
    """The first failure; but a process killed by a signal explains the plain errors of its peers, whatever the order.

    SIGTERM explains nothing: the agent sends it to the rest after a failure.
    """
    first = error.get_first_failure()
    killed = [(rank, failure) for rank, failure in error.failures.items() if _was_killed(failure)]
    return killed[0] if first[1].exitcode == errors.FAILURE and killed else first


def _was_killed(failure: "ProcessFailure") -> bool:
    return failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM


def _explain(error: "ChildFailedError") -> tuple[int, str]:
    rank, failure = _cause(error)
    if failure.exitcode < 0:
        name = failure.signal_name()
        reason = " (out of memory, or killed from outside)" if name == "SIGKILL" else ""
        return 128 - failure.exitcode, f"error: process {rank} was killed by {name}{reason}"
    if failure.exitcode == errors.TERMINATED:
        return failure.exitcode, f"terminated: process {rank} has saved what it could"
    known = isinstance(failure.message, str) and failure.error_file != "<N/A>"
    words = failure.message if known else f"it ended with code {failure.exitcode}; its log above says why"
    return failure.exitcode, f"error: process {rank}: {words}"
