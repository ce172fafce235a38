"""Processes that a job starts, forked from one that has imported what they import, and not begun as interpreters.

A job over a small model starts three: its first load, and one for the memory of each model that is compared or
published. Their imports were a third of such a job's work. They are processes of their own as before, and run the same
modules as `python -m` does. test_first_load.py and the report's tests take real interpreters. This module is both
sides; run, it is the one that forks.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Never

import pytest

from tests.cluster.paths import REPOSITORY
from workloads.measure import rss
from workloads.quantize.graph import first_load

attempt, in_fresh_process = first_load.attempt, rss.in_fresh_process
FIRST_LOAD = "workloads.quantize.graph.first_load"
BENCHMARK = "workloads.quantize.evaluation.benchmark"
PRELOAD = ("onnx", "onnxruntime", BENCHMARK, "workloads.quantize.graph.tidy")
_one_at_a_time = threading.Lock()


def module(name: str, arguments: tuple[str, ...], seconds: float | None = None) -> tuple[int, str, str]:
    """`python -m name arguments...`: its exit code, what it printed, and its errors. TimeoutError after `seconds`."""
    with TemporaryDirectory() as folder, _one_at_a_time:
        files = [str(Path(folder, "out")), str(Path(folder, "errors"))]
        server = _server()
        server.stdin.write(json.dumps([name, arguments, dict(os.environ), files]).encode() + b"\n")
        server.stdin.flush()
        pid = json.loads(server.stdout.readline())
        late = not select.select([server.stdout], [], [], seconds)[0]
        if late:
            os.kill(pid, signal.SIGKILL)
        code = json.loads(server.stdout.readline())
        if late:
            raise TimeoutError
        out, errors = (Path(path).read_text(errors="replace") for path in files)
    return code, out.strip(), errors


@contextmanager
def forked() -> Iterator[None]:
    """In this process."""

    def load(path: Path, size: int, memory: int, seconds: float) -> tuple[int, str, str]:
        return module(FIRST_LOAD, (str(path), str(size), str(memory)), seconds)

    def grown(name: str, *arguments: str) -> int | None:
        if name != BENCHMARK:  # of `bench`, whose tests may come later in this process
            return in_fresh_process(name, *arguments)
        code, said, _ = module(name, arguments)
        return int(json.loads(said.splitlines()[-1])["bytes"]) if code == 0 else None

    with _replaced(load, grown):
        yield


@contextmanager
def interpreters() -> Iterator[None]:
    """As users have it."""
    with _replaced(attempt, in_fresh_process):
        yield


@contextmanager
def _replaced(load: Any, grown: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_load, "attempt", load)
        patch.setattr(rss, "in_fresh_process", grown)
        yield


@lru_cache(maxsize=1)
def _server() -> Any:
    """Ends when this process does, since its input does. Its output has no buffer here: `select` would not see it."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__]
    return subprocess.Popen(command, bufsize=0, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def main() -> None:
    """Fork for each line; tell the process' number, and its exit code once it has ended."""
    for name in PRELOAD:
        importlib.import_module(name)
    warnings.simplefilter("ignore")  # runpy's, of modules that are imported already
    while line := sys.stdin.readline():
        name, arguments, environment, files = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(name, arguments, environment, files)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(name: str, arguments: list[str], environment: dict[str, str], files: list[str]) -> Never:
    code: object = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        for place, path in enumerate([os.devnull, *files]):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), place)
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        # Nothing may run on into the server's loop; the log has it, and whoever waits gets the code.
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
