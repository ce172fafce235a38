"""Axes whose length is free, written in one way.

Exporters have written a free axis as `dim_value: -1` (or 0) for years; read as a length it makes batches of -1 samples.
"""

import re
from typing import Any

from workloads.quantize.graph import walk


def name_free(model: Any) -> None:
    """Turn every length of 0 or less into a named free axis, in place."""
    inputs = {value.name for value in model.graph.input}
    for graph in walk.graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
                continue
            for index, axis in enumerate(value.type.tensor_type.shape.dim):
                if axis.HasField("dim_value") and axis.dim_value <= 0:
                    # The library takes axes of one name for equal: the batch has one, others have their own.
                    axis.dim_param = "batch" if index == 0 and value.name in inputs else ""
                    if not axis.dim_param:
                        axis.Clear()


def axis_name(written: str, index: int) -> str:
    """An axis's name in artifact.json, from the exporter's (`unk__617`, `batch_size`, `s0`), or from its place."""
    plain = re.sub(r"[^a-z0-9_]+", "_", written.strip().lower()).strip("_")
    if not plain or plain.startswith("unk"):
        return "batch" if index == 0 else f"axis{index}"
    return plain if plain[0].isalpha() else f"axis_{plain}"
