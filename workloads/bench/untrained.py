"""`python -m workloads bench untrained`: figures of a TrainingJob's model before it is trained. For SearchJobs.

Latency, size and FLOPs do not depend on what the weights are: the model is built as the trainer builds it, with its
initial values, exported as a trained one would be, and measured on the server's own engines. Exit codes as of `bench`.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from slipway.api.search import paths
from slipway.api.search.space import Constraint, Measure
from workloads import errors
from workloads.libraries import extra, optional

MEGABYTE = 1e6
ROUNDS, WARMUP = 200, 20


def main(arguments: list[str]) -> int:
    """Measure and print the figures, in a pod also as its last words. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads bench untrained", description="Measure a TrainingJob's model before it is trained."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="a TrainingJob, YAML or JSON")
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="values by their paths in its spec")
    parser.add_argument("--measure", type=json.loads, required=True, metavar="JSON", help="constraints of a SearchJob")
    options = parser.parse_args(arguments)
    try:
        wanted = TypeAdapter(list[Constraint]).validate_json(json.dumps(options.measure))
        figures = measure(options.config, options.set, wanted)
    except (errors.BadInput, errors.Corrupt) as error:
        return _failed(str(error), errors.BAD_INPUT if isinstance(error, errors.BadInput) else errors.FAILURE)
    except ValidationError as error:
        return _failed(f"--measure: {error.errors()[0]['msg']}", errors.BAD_INPUT)
    from workloads.pod import termination

    words = json.dumps({"figures": figures})
    termination.tell(words)
    print(words)
    return errors.SUCCESS


def _failed(words: str, code: int) -> int:
    print(f"error: {' '.join(words.split())}", file=sys.stderr)
    return code


def measure(config: Path, values: dict[str, paths.Value], wanted: list[Constraint]) -> dict[str, float]:
    """Figures by the keys of the constraints. BadInput where the model cannot be built, exported or run."""
    needed = "bench opens models with onnx and ONNX Runtime"
    optional("onnx", needed, extra("quantize", "the quantizer's image"))
    from workloads.bench import flops
    from workloads.bench.models_under_test import find

    with tempfile.TemporaryDirectory() as folder:
        model = _exported(config, values, Path(folder))
        source = find(str(model))
        figures = {}
        for constraint in wanted:
            if constraint.metric is Measure.P50_MILLISECONDS:
                figures[constraint.key] = _milliseconds(model, constraint)
            elif constraint.metric is Measure.SIZE_MEGABYTES:
                figures[constraint.key] = flops.file_bytes(model) / MEGABYTE
            else:
                counted = flops.flops(source)
                if counted is None:
                    raise errors.BadInput("FLOPs cannot be counted for this model: remove the constraint on flops")
                figures[constraint.key] = float(counted)
        return {key: float(f"{value:.6g}") if math.isfinite(value) else value for key, value in figures.items()}


def _milliseconds(model: Path, constraint: Constraint) -> float:
    from workloads.bench.measure import BenchOptions, run

    report: dict[str, Any] = run(
        BenchOptions(
            models=(str(model),),
            engines=(constraint.engine.value,),
            threads=(constraint.threads,),
            batch_sizes=(constraint.batch,),
            rounds=ROUNDS,
            warmup=WARMUP,
        )
    )
    return float(report["rows"][0]["p50Ms"])


def _exported(config: Path, values: dict[str, paths.Value], folder: Path) -> Path:
    """The untrained model as an .onnx file."""
    from workloads.export.from_torch import export
    from workloads.onnx import file
    from workloads.train.untrained import untrained

    model, signature = untrained(config, values)
    path = folder / "model.onnx"
    file.save(export(model, signature), path)
    return path
