"""Strategy that trains the job: the one that the spec names, or the cheapest that fits. Pure; called by plan.py.

The choice is persisted before the first pod is created, and kept: nodes that come and go later do not change it.
"""

from collections.abc import Mapping
from typing import Any

from slipway.api.common.quantity import parse_quantity
from slipway.api.training.learning.optimizer import moment_bytes
from slipway.api.training.memory import Estimate, StrategyName, cheapest, table
from slipway.api.training.processes import world_size
from slipway.api.training.strategy import Choice, EstimateStatus, ModelSize, StrategyStatus, workload
from slipway.api.training.trainingjob import TrainingJobSpec

GIB = 2**30


def chosen(wire: Mapping[str, Any]) -> Choice | None:
    """Strategy that the status names; None where nothing was to be chosen."""
    found = wire.get("strategy")
    return Choice(StrategyName(found["name"])) if found else None


def choose(spec: TrainingJobSpec, node_gpu_bytes: int | None) -> tuple[StrategyStatus | None, str]:
    """The status to persist, or None and what to change. `node_gpu_bytes`: of the smallest GPU that it may get."""
    asked = spec.strategy
    if asked is None:
        return None, ""
    if asked.name is not StrategyName.AUTO:
        return StrategyStatus(name=asked.name, reason="the spec asks for it"), ""
    gpu = int(parse_quantity(asked.gpu_memory)) if asked.gpu_memory is not None else node_gpu_bytes
    if gpu is None or asked.model is None:
        return None, "spec.strategy: no node tells its GPUs' memory (label nvidia.com/gpu.memory): set gpuMemory"
    rows = estimates_for(spec, asked.model, gpu)
    best = cheapest(rows)
    if best is None:
        least = min(rows, key=lambda row: row.device_bytes)
        return None, (
            f"spec.strategy: even {least.name} needs {least.device_bytes / GIB:.1f} GiB of a GPU's {gpu / GIB:.1f}: "
            "more nodes, a smaller micro batch, or activationCheckpointing"
        )
    before = rows[: rows.index(best)]
    why = (
        "; ".join(f"{row.name} needs {row.device_bytes / GIB:.1f} GiB" for row in before) or "nothing has to be divided"
    )
    reason = f"{best.name} needs {best.device_bytes / GIB:.1f} GiB of a GPU's {gpu / GIB:.1f}; {why}"
    estimates = [
        EstimateStatus(name=row.name, device_bytes=row.device_bytes, host_bytes=row.host_bytes, fits=row.fits)
        for row in rows
    ]
    return StrategyStatus(name=best.name, reason=reason, gpu_memory_bytes=gpu, estimates=estimates), ""


def estimates_for(spec: TrainingJobSpec, model: ModelSize, gpu: int) -> list[Estimate]:
    """Memory estimates by strategy for a GPU with `gpu` bytes, with the batches that the spec asks for."""
    judged = spec.recipe.evaluation_batch_size if spec.recipe is not None else None
    moments = moment_bytes(spec.recipe.optimizer, spec.recipe.ema) if spec.recipe is not None else None
    return table(workload(model, world_size(spec), _micro_batch(spec), judged, moments), gpu)


def _micro_batch(spec: TrainingJobSpec) -> int | None:
    if spec.recipe is not None:
        return max(1, spec.recipe.global_batch_size // (world_size(spec) * spec.recipe.gradient_accumulation_steps))
    return spec.deepspeed.train_micro_batch_size_per_gpu if spec.deepspeed else None
