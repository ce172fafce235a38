"""Mutation test of TensorRT's files, `make mutants`: which changes the tests notice, and which they do not, as JSON.

Each mutant is one process, forked from one in which everything is imported already: a second or less apiece.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.cluster.paths import REPOSITORY
from tests.mutation.mutants import Mutant, mutants
from tests.perf import machine

PACKAGE = "workloads/serve/engines/tensorrt"
FILES = ("build", "cache", "engine", "gpu", "key", "library", "memory", "sparsity")
TESTS = (
    "tests/unit/serve/tensorrt",
    "tests/unit/serve/engines/test_tensorrt.py",
    "tests/unit/serve/engines/test_sparse_weights.py",
)
SECONDS = 60  # for one mutant, which may never end


class Source(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a text instead of its file."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The spec, for this one module alone."""
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the text."""
        exec(compile(self._source, f"<{self._name}>", "exec"), vars(module))


def survives(name: str, mutant: Mutant) -> bool:
    """Tell whether the tests pass with a mutant in the module's place. In a process of its own."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            signal.alarm(SECONDS)
            sys.meta_path.insert(0, Source(name, mutant.source))
            code = run()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def run() -> int:
    """Exit code of the tests: 0 when all pass."""
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    return int(pytest.main([*options, *TESTS]))


def warm() -> None:
    """Import what the tests need and no mutant is of: numpy, ONNX Runtime, TensorRT, pytest."""
    import cuda.bindings.runtime
    import numpy
    import onnx
    import onnxruntime
    import tensorrt_rtx

    import workloads.serve.model

    del cuda, numpy, onnx, onnxruntime, tensorrt_rtx, workloads


def main() -> int:
    """Run all mutants and write what came of each. Exit code 1 when the tests fail on the unchanged files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--file", choices=FILES, action="append")
    chosen = parser.parse_args()
    warm()
    started, rows = time.monotonic(), []
    for file in chosen.file or FILES:
        path = REPOSITORY / PACKAGE / f"{file}.py"
        name = f"{PACKAGE}/{file}".replace("/", ".")
        original = path.read_text()
        if not survives(name, Mutant(0, "unchanged", original)):
            print(f"{file}: the tests fail without any change", file=sys.stderr)
            return 1
        for mutant in mutants(original):
            alive = survives(name, mutant)
            rows.append({"file": file, "line": mutant.line, "change": mutant.change, "killed": not alive})
            if alive:
                print(f"{file}:{mutant.line}: {mutant.change}: no test notices", file=sys.stderr)
    killed = sum(bool(row["killed"]) for row in rows)
    result = {**machine.describe(), "load": machine.load(), "seconds": round(time.monotonic() - started)}
    result |= {"mutants": len(rows), "killed": killed, "left": [row for row in rows if not row["killed"]]}
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{killed} of {len(rows)} mutants are killed, in {result['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
