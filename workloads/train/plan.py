"""`python -m workloads plan --config job.json --gpu-memory 80Gi`: memory of each strategy, and those that fit.

Prints the operator's own table for a TrainingJob with `spec.strategy.model`, without a cluster and without torch.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from slipway.api.common.quantity import parse_quantity
from slipway.api.training.learning.optimizer import moment_bytes
from slipway.api.training.memory import Estimate, cheapest, table
from slipway.api.training.processes import world_size
from slipway.api.training.strategy import ModelSize, workload
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from workloads.errors import BadInput
from workloads.pod import job_document
from workloads.train.job import KIND

GIB = 2**30


def main(arguments: list[str]) -> int:
    """Command line. Returns 0 if some strategy fits, 1 if none does, 2 if the job makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m workloads plan", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a TrainingJob, as YAML or JSON")
    parser.add_argument("--gpu-memory", help="of one GPU, for example 80Gi; spec.strategy.gpuMemory if not given")
    parser.add_argument("--processes", type=int, help="of the whole job, where numProcPerNode is auto")
    options = parser.parse_args(arguments)
    try:
        document = job_document.read(options.config, KIND)
        metadata, found = document.get("metadata"), document.get("spec")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        spec, problems = spec_problems(str(name or "job"), found if isinstance(found, dict) else {})
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    problems = problems or _missing(spec, options)
    model = spec.strategy.model if spec is not None and spec.strategy is not None else None
    if spec is None or model is None or problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    rows = _rows(spec, model, options)
    print(rendered(rows))
    return 0 if cheapest(rows) else 1


def rendered(rows: list[Estimate]) -> str:
    """The table, with the choice marked."""
    best = cheapest(rows)
    lines = [f"{'strategy':<14}{'GPU GiB':>9}{'host GiB':>10}  fits"]
    for row in rows:
        numbers = f"{row.device_bytes / GIB:>9.1f}{row.host_bytes / GIB:>10.1f}"
        lines.append(f"{row.name:<14}{numbers}  {'yes' if row.fits else 'no'}{'  <- Auto' if row is best else ''}")
    return "\n".join(lines)


def _missing(spec: TrainingJobSpec | None, options: Any) -> list[str]:
    strategy = spec.strategy if spec is not None else None
    if spec is None or strategy is None or strategy.model is None:
        return ["spec.strategy.model: set parameters, and for a transformer layers, hiddenSize and sequenceLength"]
    found = []
    if options.gpu_memory is None and strategy.gpu_memory is None:
        found.append("say how much memory a GPU has: --gpu-memory 80Gi")
    try:
        parse_quantity(options.gpu_memory or "1Gi")
    except ValueError:
        found.append(f"--gpu-memory {options.gpu_memory} is no quantity of Kubernetes: write 80Gi, or 80G")
    return found


def _rows(spec: TrainingJobSpec, model: ModelSize, options: argparse.Namespace) -> list[Estimate]:
    world = options.processes or world_size(spec)
    micro = None
    if spec.recipe is not None:
        micro = max(1, spec.recipe.global_batch_size // (world * spec.recipe.gradient_accumulation_steps))
    elif spec.deepspeed is not None:
        micro = spec.deepspeed.train_micro_batch_size_per_gpu
    memory = options.gpu_memory or (spec.strategy.gpu_memory if spec.strategy else None) or 0
    judged = spec.recipe.evaluation_batch_size if spec.recipe is not None else None
    moments = moment_bytes(spec.recipe.optimizer, spec.recipe.ema) if spec.recipe is not None else None
    return table(workload(model, world, micro, judged, moments), int(parse_quantity(memory)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
