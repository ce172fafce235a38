"""What does own code before and after the model cost? `python -m tests.perf.serving.transform_bench [--rounds 3]`.

Two servers of one model that take turns: as it is, and with a `preprocess` and a `postprocess` that give back what they
get, so that all the difference is the way to a worker process and back, twice a request.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance.server import Server
from tests.perf import machine
from tests.perf.serving.serve_bench import SIZES, Target, load, scripts
from tests.unit.serve import onnx_models

CONNECTIONS = (1, 8)
OWN = "tests.perf.serving.transform_bench"  # as the server imports it, whatever it is called here
KEYS = ("cpu_us", "front_us", "rps", "p50_ms", "p99_ms")
WAYS: dict[str, tuple[str, ...]] = {
    "without": (),
    "own code before and after": ("--preprocess", f"{OWN}:same", "--postprocess", f"{OWN}:same"),
}


def same(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """What comes in goes out."""
    return arrays


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Medians by way and number of connections: microseconds of CPU a request of all processes, and latency."""
    model, sent = onnx_models.mlp(folder / "mlp.onnx", SIZES), scripts(folder)["binary"]
    with contextlib.ExitStack() as stack:
        targets = []
        for number, (way, own) in enumerate(WAYS.items()):
            options = ("--model", str(model), "--threads", "1", "--engine", "onnxruntime", *own)
            server = Server(folder / f"{number}.log", *options).wait()
            stack.callback(server.stop)
            targets.append(Target(way, server.port, server.process.pid, {"binary": sent}, front=True))
        seen: dict[tuple[str, int], list[dict[str, float]]] = {(way, n): [] for way in WAYS for n in CONNECTIONS}
        for number in range(rounds + 1):
            for connections in CONNECTIONS:
                for target in targets:
                    one = load(target, sent, connections, seconds)
                    if number:  # the first one warms up
                        seen[target.name, connections].append(one)
    return {
        way: {
            str(n): {key: round(statistics.median(o[key] for o in seen[way, n]), 2) for key in KEYS}
            for n in CONNECTIONS
        }
        for way in WAYS
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.serving.transform_bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about, before = machine.describe(), machine.load()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.rounds, options.seconds)
    machine.write({"machine": about, "load": [before, machine.load()], "rows": rows}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
