"""The protocol's statistics and model configuration extensions, which load generators and model analyzers ask for.

Counters since the server began, as Triton names them. Times are of requests, added up, in nanoseconds.
"""

from collections.abc import Sequence
from typing import Any

from workloads.serve.batcher import Limits
from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Outcome
from workloads.serve.signature import Signature, Tensor
from workloads.serve.telemetry.metrics import Metrics

NANOSECONDS = 1_000_000_000
MICROSECONDS = 1_000_000


def statistics(name: str, version: str, metrics: Metrics) -> dict[str, Any]:
    """The answer to GET /v2/models/{name}/stats and /v2/models/stats."""
    outcomes = metrics.inferences.items()
    failed = sum(count for (_, outcome), count in outcomes if outcome != Outcome.ANSWERED)
    answered, waited = sum(metrics.request.counts), sum(metrics.queue.counts)
    model = {
        "name": name,
        "version": version,
        "last_inference": int(metrics.last * 1000),
        "inference_count": metrics.rows,
        "execution_count": sum(metrics.batch.counts),
        "inference_stats": {
            "success": _duration(answered, metrics.request.sum),
            "fail": _duration(failed, 0.0),
            "queue": _duration(waited, metrics.queue.sum),
            # Putting rows together and taking them apart is within the engine's time.
            "compute_input": _duration(metrics.computed, 0.0),
            "compute_infer": _duration(metrics.computed, metrics.compute),
            "compute_output": _duration(metrics.computed, 0.0),
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "batch_stats": [],
    }
    return {"model_stats": [model]}


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * NANOSECONDS)}


def configuration(
    name: str, platform: str, engine: str, signature: Signature, limits: Limits, instances: int
) -> dict[str, Any]:
    """The answer to GET /v2/models/{name}/config.

    As in Triton, dims of a model that is batched are without the batch.
    """
    batched = signature.batched and limits.max_batch_size > 1
    config: dict[str, Any] = {
        "name": name,
        "platform": platform,
        "backend": engine,
        "max_batch_size": limits.max_batch_size if batched else 0,
        "input": _ports(signature.inputs, batched),
        "output": _ports(signature.outputs, batched),
        "instance_group": [{"name": f"{name}_0", "count": instances}],
    }
    if batched:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": int(limits.max_queue_delay * MICROSECONDS)}
    return config


def _ports(tensors: Sequence[Tensor], batched: bool) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "data_type": _kind(one.datatype), "dims": one.shape[1:] if batched else one.shape}
        for one in tensors
    ]


def _kind(datatype: Datatype) -> str:
    return "TYPE_STRING" if datatype is Datatype.BYTES else f"TYPE_{datatype.name}"
