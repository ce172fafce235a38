"""`python -m tests.perf.quantizing.compress_bench`: what each way to make a model smaller is worth, on Fashion-MNIST.

A CNN is trained, then compressed and trained on, once per method, by `workloads train` as a user would run it; a
narrower CNN learns once from the labels alone and once from the first as well. All are exported to ONNX and timed in
turns in one process, so that a busy moment is busy for all. Goes to tests/perf/results/compress.json.
"""

import argparse
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.models.command import workloads
from tests.perf import machine
from workloads.measure import timing
from workloads.models.from_artifact import load_model
from workloads.onnx import file
from workloads.onnx import session as runtime

RESULT = Path(__file__).parents[1] / "results" / "compress.json"
DATA = {"name": "fashion-mnist"}
WIDTH, NARROW, EPOCHS, MORE = 16, 8, 4, 1
BATCHES, ROUNDS, WARMUP = (1, 64), 300, 30

METHODS: dict[str, list[dict[str, Any]]] = {
    "magnitude, 80 %": [{"method": "magnitude", "ratio": 0.8}],
    "2:4": [{"method": "two-four"}],
    "channels, 50 %": [{"method": "channels", "ratio": 0.5}],
    "low rank, 80 % of energy": [{"method": "low-rank", "energy": 0.8}],
}
FLOAT, ALONE, TAUGHT = "as it was", "half as wide, from labels", "half as wide, from labels and the first"


def recipes(first: str) -> dict[str, dict[str, Any]]:
    """By name, in the order they are run. `first`: where the first one's artifact lies."""
    whole, narrow = {"name": "cnn", "width": WIDTH}, {"name": "cnn", "width": NARROW}
    long = {"epochs": EPOCHS, "optimizer": {"learningRate": 0.05}}
    short: dict[str, Any] = {"epochs": MORE, "optimizer": {"learningRate": 0.02}}
    taught = {"teacher": {"uri": first}, "temperature": 4.0, "alpha": 0.7}
    short["compressionGate"] = {"maxDrop": 1}  # what it costs is what is measured
    more = {name: {"model": {**whole, "uri": first}, **short, "compression": steps} for name, steps in METHODS.items()}
    return {
        FLOAT: {"model": whole, **long},
        **more,
        ALONE: {"model": narrow, **long},
        TAUGHT: {"model": narrow, **long, "distillation": taught},
    }


def trained(folder: Path, recipe: dict[str, Any]) -> Path:
    """The artifact with its ONNX; what an interrupted run has finished is taken as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    job = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "fashion"}}
    (folder / "job.yaml").write_text(yaml.safe_dump({**job, "spec": {"recipe": {"dataset": DATA, **recipe}}}))
    if not (folder / "trained").exists():
        workloads("train", "--config", str(folder / "job.yaml"), "--output", str(folder / "trained"))
    if not (folder / "exported").exists():
        workloads("export", "--model", str(folder / "trained"), "--output", str(folder / "exported"))
    return folder / "exported"


def row_of(name: str, exported: Path) -> dict[str, Any]:
    """Accuracy with its interval, parameters, FLOPs, bytes of the weights as they are and packed."""
    import torch

    from workloads.compress.size import figures

    model, described = load_model(exported)
    example = torch.zeros(1, *described.signature.inputs[0].shape[1:])  # type: ignore[arg-type]
    weights = exported / "model.safetensors"
    steps = exported / "compression.json"
    return {
        "what": name,
        **figures(model, example),
        "sizeBytes": weights.stat().st_size,
        "packedBytes": len(zlib.compress(weights.read_bytes(), 6)),
        **{key: described.metrics[key] for key in ("accuracy", "accuracyLow95", "accuracyHigh95", "samples")},
        "beforeTraining": json.loads(steps.read_text())[-2]["metrics"]["accuracy"] if steps.exists() else None,
    }


def timed(rows: list[dict[str, Any]], models: list[Path]) -> None:
    """Milliseconds of a call in ONNX Runtime with one thread, and how many times as fast as the first, in turns."""
    sessions = [runtime.session(file.load(path / "model.onnx"), threads=1) for path in models]
    name = sessions[0].get_inputs()[0].name
    for size in BATCHES:
        feeds = {name: np.random.RandomState(0).rand(size, 1, 28, 28).astype(np.float32)}
        calls = [lambda session=session: session.run(None, feeds) for session in sessions]  # noqa: B023
        seconds = timing.in_turns(calls, rounds=ROUNDS, warmup=WARMUP)
        for row, own in zip(rows, seconds, strict=True):
            found = timing.figures(own, size)
            row[f"batch{size}"] = {**found, "timesAsFast": round(float(np.median(seconds[0] / own)), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep all files here, and go on with what was interrupted")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-compress-") as temporary:
        folder: Path = (options.folder or Path(temporary)).absolute()
        load = machine.load()
        wanted = recipes((folder / "0" / "trained").as_uri())
        models = [trained(folder / str(number), recipe) for number, recipe in enumerate(wanted.values())]
        rows = [row_of(name, path) for name, path in zip(wanted, models, strict=True)]
        timed(rows, models)
        about = {**machine.describe(), "loadBefore": load, "loadAfter": machine.load()}
        report = {"about": about, "epochs": EPOCHS, "epochsAfter": MORE, "results": rows}
        options.result.write_text(json.dumps(report, indent=1) + "\n")
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
