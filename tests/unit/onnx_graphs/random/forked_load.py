"""First loads of many small models: each in a process of its own, forked from one that has the libraries already.

A new interpreter spends two thirds of a random graph's time on its imports. What kills a forked process kills it alone,
too; test_first_load.py tries the interpreter that a job starts. This module is both sides; run, it is the one that
forks.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.cluster.paths import REPOSITORY
from workloads.quantize.graph import first_load


def attempt(path: Path, size: int, memory: int, seconds: float) -> tuple[int, str, str]:
    """In place of first_load.attempt."""
    server = _server()
    print(json.dumps([str(path), size, memory, seconds]), file=server.stdin, flush=True)
    code, said = json.loads(server.stdout.readline())
    if code == -signal.SIGALRM:
        raise TimeoutError
    return code, said, ""


@lru_cache(maxsize=1)
def _server() -> Any:
    """Ends when this process does, since its input does."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}
    command = [sys.executable, "-m", __name__]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, text=True, env=environment, **pipes)


def main() -> None:
    import onnxruntime  # noqa: F401 (so that no child has to)

    import workloads.quantize.graph.tidy  # noqa: F401

    gc.freeze()  # what is there already is no garbage: children do not copy it by looking
    for line in sys.stdin:
        path, size, memory, seconds = json.loads(line)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(int(seconds) + 1)
            said = first_load.load(Path(path), size, memory)
            os.write(theirs, said.encode()[:4096])
            os._exit(first_load.REFUSED if said else 0)
        os.close(theirs)
        _, status = os.waitpid(child, 0)
        with os.fdopen(ours, "rb") as stream:
            said = stream.read().decode(errors="replace")
        print(json.dumps([os.waitstatus_to_exitcode(status), said]), flush=True)


if __name__ == "__main__":
    main()
