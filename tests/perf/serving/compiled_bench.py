"""What would the server gain if mypyc compiled it? `python -m tests.perf.serving.compiled_bench [--rounds 5]`.

Copies of the source in a folder of their own, in which some modules are compiled to C; a server from each, which take
turns at 32 connections. What counts is CPU time a request, because other work wants the same cores. Needs a C compiler
and `wrk`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conformance.server import ROOT, Server
from tests.perf import machine
from tests.perf.serving.serve_bench import SIZES, Target, load, scripts
from tests.unit.serve import onnx_models

SERVE = Path("workloads/serve")
WAYS: dict[str, tuple[str, ...]] = {"as it is": (), "http and batcher compiled": ("http", "batcher")}
# batch_execution.py: a generic dataclass, which mypyc compiles to a module that does not load.
LEFT = {"__init__.py", "observer.py", "batch_execution.py"}
BUILD = """
import json, sys
from mypyc.build import mypycify
from setuptools import setup
files = json.loads(sys.argv.pop())
setup(name="compiled", packages=[], ext_modules=mypycify(["--follow-imports=silent", *files], opt_level="3"))
"""
CONNECTIONS = 32


def copy(folder: Path, packages: tuple[str, ...]) -> Path:
    """The source, with these packages compiled."""
    for package in (Path("workloads"), Path("operator/slipway")):
        shutil.copytree(ROOT / package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    files = [
        str(path.relative_to(folder))
        for package in packages
        for path in sorted((folder / SERVE / package).glob("*.py"))
        if path.name not in LEFT
    ]
    if files:
        (folder / "build.py").write_text(BUILD)
        command = [sys.executable, "build.py", "build_ext", "--inplace", json.dumps(files)]
        done = subprocess.run(command, check=False, cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True)
        if done.returncode:
            sys.exit(f"mypyc does not compile {packages}:\n{(done.stdout + done.stderr).decode()[-4000:]}")
    return folder


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Microseconds of CPU a request, of the whole process and of the loop's thread, by way and form: medians."""
    model, forms = onnx_models.mlp(folder / "mlp.onnx", SIZES), scripts(folder)
    with contextlib.ExitStack() as stack:
        targets = []
        for number, (way, packages) in enumerate(WAYS.items()):
            source = copy(folder / str(number), packages)
            options = ("--model", str(model), "--threads", "1", "--engine", "onnxruntime")
            server = Server(folder / f"{number}.log", *options, env={"PYTHONPATH": str(source)}).wait()
            stack.callback(server.stop)
            targets.append(Target(way, server.port, server.process.pid, forms, front=True))
        seen: dict[str, dict[str, list[dict[str, float]]]] = {way: {"binary": [], "json": []} for way in WAYS}
        for number in range(rounds + 1):
            for form in forms:
                for target in targets:
                    one = load(target, forms[form], CONNECTIONS, seconds)
                    if number:  # the first one warms up
                        seen[target.name][form].append(one)
    keys = ("cpu_us", "front_us", "rps")
    return {
        way: {
            form: {key: round(statistics.median(one[key] for one in all_of), 1) for key in keys}
            for form, all_of in found.items()
        }
        for way, found in seen.items()
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.serving.compiled_bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about, before = machine.describe(), machine.load()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.rounds, options.seconds)
    plain = rows["as it is"]
    for found in rows.values():
        for form, one in found.items():
            one["times cheaper"] = round(plain[form]["cpu_us"] / one["cpu_us"], 3)
    machine.write({"machine": about, "load": [before, machine.load()], "rows": rows}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
