"""Small ONNX graphs as strangers write them, and a job that quantizes one in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slipway.api.quantization.status import StageResult
from tests.unit.quantize import jobs

SAMPLES = 48


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def value(name: str, shape: Sequence[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: dict[str, Any],
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[str] = (),
) -> Any:
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def classifier(*, opset: int = 17, classes: int = 4, batch: Any = "n", ir_version: int = 8) -> Any:
    """Two products with a Relu between them, one score per class."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    weights = {"w1": random(16, 32, seed=1), "w2": random(32, classes, seed=2)}
    return model(
        nodes, [value("x", [batch, 16])], [value("y", [batch, classes])], weights, opset=opset, ir_version=ir_version
    )


def quantize(folder: Path, graph: Any, feeds: dict[str, Any], ladder: Sequence[str], **spec: Any) -> StageResult:
    """All stages of a job over a graph, judged by agreement; `feeds` are both calibration and evaluation data."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, folder / "model.onnx")
    np.savez(folder / "data.npz", **feeds)
    data = {"uri": (folder / "data.npz").as_uri()}
    fields: dict[str, Any] = {
        "calibration": {**data, "methods": ["min-max"]},
        "evaluation": {**data, "metric": "agreement"},
        "ladder": list(ladder),
        # Nothing is so small: every rung is tried.
        "gates": {"accuracy": {"maxDrop": 0.5}, "size": {"maxRatio": 0.0001}},
        **spec,
    }
    return jobs.run(jobs.job(folder / "job", folder / "model.onnx", **fields))


def built(found: StageResult) -> dict[str, Any]:
    """Candidates that could be built, by name."""
    return {row.name: row for row in found.comparison if row.name != "float" and row.agreement is not None}
