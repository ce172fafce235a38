"""Real processes for the tests: workloads commands and functions on several ranks, each a process of its own.

They are forked from a server that has imported torch already, so that twenty of them cost little more than one. A test
process has one such server for all folders: whichever test comes first starts it, for those of training and of
quantization alike.
"""

import faulthandler
import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).parents[3]
PRELOAD = [
    "workloads.train.run",
    "workloads.train.checkpoints.checkpoint",
    "torch._dynamo",
    # Of the report and of TensorBoard's events, which every run writes: imported in each, they were half of its work.
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "tensorboard.summary.writer.event_file_writer",
    "torch.utils.tensorboard",
    "sklearn.datasets",
    "workloads.quantize.run",
    "workloads.quantize.report.page",
    "onnxruntime",
]
PATIENCE = 120.0  # seconds; the machine may be busy with builds

context = multiprocessing.get_context("forkserver")
_numbers = itertools.count()


def prepare(*more: str) -> None:
    """Before the first process: how the server shall run, and which modules it imports beside the trainer's."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "operator"), str(ROOT)])
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    context.set_forkserver_preload([*PRELOAD, *more])


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit code, negative for a signal, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def command(arguments: list[str], folder: Path, **env: str) -> Iterator["Running"]:
    """`python -m workloads ARGUMENTS` with this environment alone; killed when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"command-{next(_numbers)}.log"
    only = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    process = context.Process(target=_alone, args=(arguments, {**only, **env}, log))
    process.start()
    running = Running(process, log)
    try:
        yield running
    finally:
        process.kill()
        process.join()


def done(arguments: list[str], folder: Path, **env: str) -> Done:
    """The same, to its end."""
    with command(arguments, folder, **env) as running:
        code = running.wait()
    return Done(code, running.output, running.errors)


@dataclass
class Running:
    """One process and what it prints."""

    process: Any
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def errors(self) -> str:
        """Standard error of a `command`; processes of `ranks` print both to their log."""
        path = self.log.with_suffix(".err")
        return path.read_text() if path.exists() else ""

    def wait(self) -> int:
        """Its exit code. It may take as long as the test may, while it says something now and then."""
        said, since = len(self.output), time.monotonic()
        while self.process.join(0.5) or self.process.exitcode is None:
            if len(self.output) > said:
                said, since = len(self.output), time.monotonic()
            elif time.monotonic() > since + PATIENCE:
                os.kill(self.process.pid, signal.SIGUSR1)
                self.process.join(2)
                self.process.kill()
                raise AssertionError(f"silent for {PATIENCE} s:\n{self.output}")
        return int(self.process.exitcode)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`, which is asked often."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE} s for {what}")


@contextmanager
def ranks(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    count: int,
    logs: Path,
    place: "Callable[[int, int], dict[str, str]] | None" = None,
    **env: str,
) -> Iterator[list[Running]]:
    """`function(*arguments)` in `count` processes; killed when the block ends.

    They find each other as torchrun's do, or by what `place(rank, count)` says.
    """
    logs.mkdir(parents=True, exist_ok=True)
    size = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    shared = {**env, **size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    running = []
    for rank in range(count):
        log = logs / f"rank-{rank}.log"
        log.unlink(missing_ok=True)  # nobody shall read the words of an earlier run
        own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else env
        own = own if place is None else {**env, **place(rank, count)}
        process = context.Process(target=_child, args=(function, arguments, own, log))
        process.start()
        running.append(Running(process, log))
    try:
        yield running
    finally:
        for one in running:
            one.process.kill()
            one.process.join()


def _child(function: Callable[..., None], arguments: tuple[Any, ...], env: dict[str, str], log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.update(env)
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # where does it hang?
    code = 0
    try:
        function(*arguments)
    except BaseException:
        # SystemExit, too: nothing may run on into the parent's copy of pytest. The parent raises on the code.
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    os._exit(code)  # as the commands do: destructors of process groups can wait for each other


def _alone(arguments: list[str], env: dict[str, str], log: Path) -> None:
    """A command as a shell starts it: nothing of the tests' environment, two streams, and its own exit code."""
    os.environ.clear()
    os.environ.update(env)
    for place, path in ((1, log), (2, log.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), place)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    code: object = 1
    try:
        from workloads.__main__ import main

        code = main(arguments)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 1)


def _command(arguments: list[str]) -> None:
    from workloads.__main__ import main

    main(arguments)


def train(config: Path, count: int, logs: Path, *options: str, place: Any = None, **env: str) -> Any:
    """`python -m workloads train --config FILE ...` on `count` ranks."""
    return ranks(_command, (["train", "--config", str(config), *options],), count, logs, place, **env)


def results(function: Callable[..., Any], arguments: tuple[Any, ...], count: int, folder: Path) -> list[Any]:
    """What `function(*arguments)` returns on each rank, as JSON."""
    with ranks(_record, (function, arguments, folder), count, folder) as running:
        for one in running:
            assert one.wait() == 0, one.output
    return [json.loads((folder / f"result-{rank}.json").read_text()) for rank in range(count)]


def _record(function: Callable[..., Any], arguments: tuple[Any, ...], folder: Path) -> None:
    rank = os.environ.get("RANK", "0")
    (folder / f"result-{rank}.json").write_text(json.dumps(function(*arguments)))
