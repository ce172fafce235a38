"""From which model on does the server hand out half of its engine? `python -m tests.perf.serving.size_bench [--seconds
2]`.

Models of growing cost, one engine thread, binary requests of one row at 32 connections. For each model in turn: the
bare engine in this process, the server, and Triton where it is installed. Needs `wrk`.

- `engine_us`: of the bare engine for a row, at its best number of rows a batch.
- `ratio`: requests a second to the rows a second of that engine.

The networks of convolutions keep their weights in the processor's own cache, so that a row costs them the same however
many go together and whatever the other core does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.perf.serving.serve_bench import STEADY_CONNECTIONS, bare_engine, load, machine, targets
from tests.unit.serve import onnx_models

MODELS: Mapping[str, Callable[[Path], Path]] = {
    "2 convolutions": partial(onnx_models.cnn, layers=2),
    "the MLP of the table above": onnx_models.mlp,
    "4 convolutions": partial(onnx_models.cnn, layers=4),
    "8 convolutions": partial(onnx_models.cnn, layers=8),
    "16 convolutions": partial(onnx_models.cnn, layers=16),
}
CONTENDERS = ("slipway", "triton")


def measured(folder: Path, name: str, seconds: float, rounds: int) -> dict[str, Any]:
    """One model: medians of the rounds, in which engine and servers take turns."""
    path = MODELS[name](folder / "mlp.onnx")  # the file's name is the model's in the paths
    engines: list[float] = []
    seen: dict[str, list[dict[str, float]]] = {}
    with targets(folder, path) as servers:
        contenders = [target for target in servers if target.name in CONTENDERS]
        for target in contenders:
            load(target, target.scripts["binary"], 8, 1)  # warm caches, so that the first round is like the others
        for _ in range(rounds):
            engines.append(max(bare_engine(path, seconds).values()))
            for target in contenders:
                one = load(target, target.scripts["binary"], STEADY_CONNECTIONS, seconds)
                seen.setdefault(target.name, []).append({**one, "ratio": one["rps"] / engines[-1]})
    medians = {
        who: {key: round(statistics.median(turn[key] for turn in turns), 3) for key in turns[0]}
        for who, turns in seen.items()
    }
    return {"model": name, "engine_us": round(1e6 / statistics.median(engines), 1), **medians}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.perf.serving.size_bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed")
    about = machine()
    models = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            models.append(measured(Path(folder), name, options.seconds, options.rounds))
        print(json.dumps(models[-1]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": about, "models": models}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
