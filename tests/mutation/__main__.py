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
# Without those that ask the real libraries what they have: no mutant changes that.
TESTS = ("tests/unit/serve/tensorrt", "--ignore", "tests/unit/serve/tensorrt/test_fakes.py")
# What else a file's own tests are.
MORE = {
    "cache": ("tests/unit/serve/engines/test_tensorrt.py",),
    "engine": ("tests/unit/serve/engines/test_tensorrt.py",),
    "sparsity": ("tests/unit/serve/engines/test_sparse_weights.py",),
}
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
            code = run(name.rpartition(".")[2])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def run(file: str) -> int:
    """Exit code of the tests: 0 when all pass."""
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    return int(pytest.main([*options, *TESTS, *MORE.get(file, ())]))


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
        found = of(file)
        if found is None:
            print(f"{file}: the tests fail without any change", file=sys.stderr)
            return 1
        rows += found
        # After each file, so that a run that is cut short leaves what it found.
        write(rows, round(time.monotonic() - started), chosen.out)
    return 0


def of(file: str) -> list[dict[str, Any]] | None:
    """A row for each mutant of a file; None where the tests fail without any change."""
    original, name = (REPOSITORY / PACKAGE / f"{file}.py").read_text(), f"{PACKAGE}/{file}".replace("/", ".")
    if not survives(name, Mutant(0, "unchanged", original)):
        return None
    rows = []
    for mutant in mutants(original):
        alive = survives(name, mutant)
        rows.append({"file": file, "line": mutant.line, "change": mutant.change, "killed": not alive})
        if alive:
            print(f"{file}:{mutant.line}: {mutant.change}: no test notices", file=sys.stderr)
    return rows


def write(rows: list[dict[str, Any]], seconds: int, out: Path | None) -> None:
    """Say how many are killed, by file, and which are not."""
    files = list(dict.fromkeys(row["file"] for row in rows))
    counts = {file: sum(row["killed"] for row in rows if row["file"] == file) for file in files}
    result = {**machine.describe(), "load": machine.load(), "seconds": seconds, "mutants": len(rows)}
    result |= {"killed": sum(counts.values()), "killedByFile": counts, "left": [r for r in rows if not r["killed"]]}
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['killed']} of {len(rows)} mutants are killed, in {seconds} s")


if __name__ == "__main__":
    sys.exit(main())
