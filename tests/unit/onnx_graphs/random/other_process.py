"""First loads of many small models in one other process, which is replaced when a graph ends it.

A job starts an interpreter for each first load, which is two thirds of a random graph's time; test_first_load.py tries
that one. Here a process loads graph after graph: one that kills it kills it alone, too, and is known by what it does.
This module is both sides; run, it is the one that loads.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

from tests.cluster.paths import REPOSITORY
from workloads.quantize.graph import first_load

LOADS = 1000  # by one process: what it keeps of each of them is little, and addresses are bounded
MEMORY = 8 << 30  # bytes of addresses


def attempt(path: Path, size: int, memory: int, seconds: float) -> tuple[int, str, str]:
    """In place of first_load.attempt."""
    server = _server()
    print(json.dumps([str(path), size, memory]), file=server.stdin, flush=True)
    if not select.select([server.stdout], [], [], seconds)[0]:
        _replace()
        raise TimeoutError
    line = server.stdout.readline()
    if not line:
        code = server.wait()
        _replace()
        if code:
            return code, "", ""
        return attempt(path, size, memory, seconds)  # it had loaded enough
    said = json.loads(line)
    return first_load.REFUSED if said else 0, said, ""


def _replace() -> None:
    _server().kill()
    _server().wait()
    _server.cache_clear()


@lru_cache(maxsize=1)
def _server() -> Any:
    """Ends when this process does, since its input does."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}
    command = [sys.executable, "-m", __name__]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, text=True, env=environment, **pipes)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # Once for all of them: a limit for each could only become smaller.
    with mock.patch.object(resource, "setrlimit"):
        for _ in range(LOADS):
            line = sys.stdin.readline()
            if not line:
                return
            path, size, memory = json.loads(line)
            print(json.dumps(first_load.load(Path(path), size, memory)), flush=True)
    sys.stdin.readline()  # so that the one that asks next sees an end, and no broken pipe


if __name__ == "__main__":
    main()
