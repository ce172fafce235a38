"""An engine of a model with 2:4 weights is built for them: the flag is in its key, and TensorRT gets it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads.serve.engines.tensorrt import sparsity

SPARSE = np.tile(np.array([1, 0, -2, 0], np.float32), (8, 4))  # [8 outputs, 16 inputs]
DENSE = np.ones((8, 16), np.float32)
TRT = SimpleNamespace(BuilderFlag=SimpleNamespace(SPARSE_WEIGHTS=1))


def written(path: Path, weight: Any, op: str, *, quantized: bool = False, **attributes: Any) -> Path:
    """One layer from `x`."""
    tensors, nodes, name = [numpy_helper.from_array(weight, "w")], [], "w"
    if quantized:
        tensors = [numpy_helper.from_array(weight.astype(np.int8), "w"), numpy_helper.from_array(np.float32(0.1), "s")]
        nodes, name = [helper.make_node("DequantizeLinear", ["w", "s"], ["v"], "dq")], "v"
    nodes.append(helper.make_node(op, ["x", name], ["y"], "layer", **attributes))
    shape = [None] * (4 if op == "Conv" else 2)
    ports = [helper.make_tensor_value_info(port, TensorProto.FLOAT, shape) for port in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("weight", "op", "attributes", "sparse"),
    [
        (SPARSE, "Gemm", {"transB": 1}, True),
        (SPARSE.T.copy(), "Gemm", {}, True),
        (SPARSE.T.copy(), "MatMul", {}, True),
        (SPARSE[:, :, None, None], "Conv", {}, True),
        (SPARSE, "Gemm", {"transB": 1, "quantized": True}, True),
        (SPARSE, "MatMul", {}, False),  # the zeros are along the outputs: no kernel skips those
        (np.where(np.arange(16) < 8, SPARSE[0], 1)[None].repeat(8, 0), "Gemm", {"transB": 1}, False),
        (np.vstack([SPARSE] * 80 + [DENSE]), "Gemm", {"transB": 1}, False),  # dense only at its end
        (DENSE, "Gemm", {"transB": 1}, False),
        (np.zeros((8, 16), np.float32), "Gemm", {"transB": 1}, False),
        (SPARSE[:, :6], "Gemm", {"transB": 1}, False),  # six inputs are no fours
    ],
)
def test_the_pattern_is_seen_along_the_inputs(
    tmp_path: Path, weight: Any, op: str, attributes: dict[str, Any], sparse: bool
) -> None:
    path = written(tmp_path / "model.onnx", weight.astype(np.float32), op, **attributes)
    assert sparsity.flags(TRT, path) == (("SPARSE_WEIGHTS",) if sparse else ())
    assert sparsity.flags(SimpleNamespace(BuilderFlag=SimpleNamespace()), path) == ()


def test_the_flag_is_in_the_key_of_a_real_engine(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")
    from workloads.serve.engines.engine import Options
    from workloads.serve.engines.tensorrt import engine
    from workloads.serve.engines.tensorrt.library import library
    from workloads.serve.model import load

    keys = []
    for name, weight in (("sparse", SPARSE), ("dense", DENSE)):
        model = load(str(written(tmp_path / f"{name}.onnx", weight, "Gemm", transB=1)), name, "1")
        keys.append(engine.plan_for(model, Options(sizes=(1, 4)), "portable")[1])
    known = hasattr(library().BuilderFlag, "SPARSE_WEIGHTS")
    assert [key.flags for key in keys] == [("SPARSE_WEIGHTS",) if known else (), ()]
