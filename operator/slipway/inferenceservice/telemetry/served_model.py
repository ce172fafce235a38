"""A pod's description of its model (the protocol's metadata) -> status.servedModel. Pure; for metrics_poller.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from slipway.api.serving.status import ServedModel

WARM_UP = "warm_up_ms_"
WARNING = "warning_"
MOST_WARNINGS = 16
LONGEST = 256
# Of a tensor's name in the status; a model's own may be longer.
LONGEST_NAME = 128
MOST_TENSORS = 32


def read_model(revision: str, page: bytes) -> dict[str, Any]:
    """Read a pod's answer; only what the status shows of it is kept. Raises ValueError."""
    try:
        described = orjson.loads(page)
        properties = described.get("properties") or {}
        figures = sorted(
            (int(key.removeprefix(WARM_UP)), float(value)) for key, value in properties.items() if WARM_UP in key
        )
        fields = {
            "revision": revision,
            "digest": properties.get("digest", ""),
            "platform": described.get("platform", ""),
            "engine": properties.get("engine", ""),
            "inputs": _tensors(described.get("inputs")),
            "outputs": _tensors(described.get("outputs")),
            "performance": [{"rows": rows, "milliseconds": ms} for rows, ms in figures],
            "maxBatchSize": int(properties.get("max_batch_size", 0)),
            "maxConcurrentTokens": int(properties.get("kv_cache_tokens", 0)),
            "proved": properties.get("proved", "")[:LONGEST],
            "batching": properties.get("batching", "")[:LONGEST],
            "warnings": _warnings(properties),
            "job": properties.get("lineage_job", ""),
            "dataSet": properties.get("lineage_data_set", ""),
            "sources": [text for text in properties.get("lineage_sources", "").split() if text],
        }
        model = ServedModel.model_validate(fields)
    except (ValueError, TypeError, AttributeError, OverflowError, LookupError) as error:
        raise ValueError("not the protocol's description of a model") from error
    return {
        key: value
        for key, value in model.wire().items()
        if value not in ("", []) and (key != "maxConcurrentTokens" or value)
    }


def _warnings(properties: Mapping[str, Any]) -> list[str]:
    return [words[:LONGEST] for key, words in properties.items() if key.startswith(WARNING)][:MOST_WARNINGS]


def _tensors(tensors: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [
        {"name": tensor["name"][:LONGEST_NAME], "datatype": tensor["datatype"], "shape": tensor["shape"]}
        for tensor in tensors or []
    ][:MOST_TENSORS]
