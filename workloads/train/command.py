"""`python -m workloads train`: arguments in, exit code out. Everything that goes wrong ends here, in words.

Exit codes: 0 trained, 1 failed, 2 another attempt would fail alike (the job, its code or its data is wrong), 3 a
gate was not passed, 130 Ctrl-C, 143 SIGTERM (the state is saved first); see slipway.api.exit_codes.
"""

import argparse
import errno
import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from workloads import errors, storage
from workloads.pod import termination
from workloads.pod.signals import StopSignal
from workloads.train.job import Job, Overrides, read_job

LOST = "lost contact with another process of this job"
SHARED = (
    "the processes of recipe.dataWorkers found no room in /dev/shm: raise spec.sharedMemory, or set dataWorkers to 0"
)
LOST_PEER = re.compile(r"gloo.*\] (.{1,200}?)(?:\. |$)|(?:NCCL|ncclRemoteError|Connection reset).{0,200}", re.MULTILINE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads train",
        description="Train the model of a TrainingJob document: one process alone, data parallel under torchrun.",
    )
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="TrainingJob document, JSON or YAML")
    parser.add_argument(
        "--output", metavar="DIR", help="write the artifact here instead of spec.output.uri (folder or URI)"
    )
    parser.add_argument("--checkpoint", metavar="DIR", help="save and resume here instead of spec.checkpoint.uri")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="use only N training samples")
    parser.add_argument("--seed", type=int, metavar="N")
    return parser


def main(arguments: list[str]) -> NoReturn:
    """Train, and end the process with the exit code."""
    stop = StopSignal()
    stop.install()
    options = vars(_parser().parse_args(arguments))
    try:
        _train(read_job(options.pop("config"), Overrides(**options)), stop)
    except BaseException as error:
        _end(_failed(error))
    _end(errors.SUCCESS)


def _train(job: Job, stop: StopSignal) -> None:
    # Read by libgomp when torch loads it. Threads that spin while they wait were measured to be eight times slower than
    # threads that sleep, on two cores with two other busy processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from workloads.train.run import run  # imports torch: only now that the job is known to be good

    run(job, stop)


def _failed(error: BaseException) -> int:
    """Say what went wrong. Returns the exit code."""
    code, words = _explain(error)
    if not isinstance(error, (*errors.TOLD, SystemExit, KeyboardInterrupt)) and not words.startswith(LOST):
        traceback.print_exception(error)
    sys.stdout.flush()
    stopped = code in {errors.TERMINATED, errors.INTERRUPTED}
    print(words if stopped else f"error: {words}", file=sys.stderr, flush=True)
    if isinstance(error, errors.BadInput) or errors.of_the_hub(error) is not None:
        termination.tell(words)
    _tell_torchrun(words, code)
    return code


def _end(code: int) -> NoReturn:
    """End the process at once, without destructors and without waiting for threads.

    A thread that waits for a dead peer would keep a failed process alive; and DDP's destructor, which holds the
    interpreter's lock, was seen to wait for ever for a thread of gloo that wants the lock.
    """
    storage.remove_downloads()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _explain(error: BaseException) -> tuple[int, str]:
    """The exit code of a failure, and its words."""
    code = errors.code_of(error)
    if isinstance(error, SystemExit):
        return code, "terminated before training began: nothing to save"
    if isinstance(error, KeyboardInterrupt):
        return code, "interrupted"
    if isinstance(error, errors.TOLD):
        return code, str(error)
    return _of_surroundings(error, code) or _of_the_code(error, code)


def _of_surroundings(error: BaseException, code: int) -> tuple[int, str] | None:
    """Words for a peer that is gone, for shared memory that is short, and for parameters without gradient."""
    lost = LOST_PEER.search(str(error)) if isinstance(error, RuntimeError) else None
    if lost is not None:
        return errors.FAILURE, f"{LOST}; its own log says why ({lost.group(1) or lost.group(0)})"
    if needs_shared_memory(error):
        return errors.BAD_INPUT, f"{SHARED} ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
    if isinstance(error, RuntimeError) and "have finished reduction" in str(error):
        return code, "some parameters got no gradient in a step: set recipe.findUnusedParameters, or freeze them"
    return None


def _of_the_code(error: BaseException, code: int) -> tuple[int, str]:
    text = str(error).strip().splitlines()
    kind, hub = type(error).__name__, errors.of_the_hub(error)
    return code, f"{hub} ({kind})" if hub is not None else f"{kind}: {text[0] if text else 'no message'}"


def needs_shared_memory(error: BaseException) -> bool:
    """Tell whether loader processes found no room in /dev/shm: for a semaphore at once, or for a batch later on."""
    words = str(error)
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in words and ("Bus error" in words or "shared memory" in words)
    frames = traceback.extract_tb(error.__traceback__)
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EACCES, errno.ENOSYS}
    return full and bool(frames) and frames[-1].filename.endswith("multiprocessing/synchronize.py")


def _tell_torchrun(words: str, code: int) -> None:
    """Write the file from which torchrun takes the first failed process's words."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not path or code == errors.TERMINATED:
        return
    try:
        Path(path).write_text(json.dumps({"message": words, "timestamp": int(time.time())}))
    except OSError as error:
        print(f"torchrun's error file could not be written: {error}", file=sys.stderr)
