"""Bias correction: the means of a layer's outputs are as before rounding, for every form of layer."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads.onnx import session
from workloads.quantize.algorithms import bias_correction
from workloads.quantize.algorithms.weight_only import rounded, weights_of


def layer(kind: str) -> tuple[Any, np.ndarray]:
    """A model of one layer with a bias, and inputs whose channels have different means."""
    random = np.random.default_rng(5)
    groups = {"depthwise": 6, "grouped": 2}.get(kind, 1)
    if kind.startswith("gemm"):
        shape, extra = ((8, 6) if kind == "gemm transposed" else (6, 8)), {"transB": int(kind == "gemm transposed")}
        x, op_type, axes = random.normal(size=(500, 6)), "Gemm", ["n"]
    else:
        outputs = 6 if kind == "depthwise" else 8
        size = 2 if kind == "depthwise" else 1  # a single weight per channel is never rounded
        shape, extra = (outputs, 6 // groups, size, size), {"group": groups}
        x, op_type, axes = random.normal(size=(20, 6, 5, 5)), "Conv", ["n", "c", "h", "w"]
    x += np.arange(6).reshape((1, 6) + (1,) * (x.ndim - 2)) * 3
    outputs = shape[1] if kind == "gemm" else shape[0]
    w = numpy_helper.from_array(random.normal(size=shape).astype(np.float32), "w")
    b = numpy_helper.from_array(np.zeros(outputs, np.float32), "b")
    node = helper.make_node(op_type, ["x", "w", "b"], ["y"], "layer", **extra)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    values[0].type.tensor_type.shape.dim.add().dim_param = axes[0]
    for length in x.shape[1:]:
        values[0].type.tensor_type.shape.dim.add().dim_value = length
    graph = helper.make_graph([node], "g", values[:1], values[1:], [w, b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model, x.astype(np.float32)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "grouped", "gemm", "gemm transposed"])
@pytest.mark.parametrize("bits", [3, 8])
def test_the_mean_of_each_output_is_kept(kind: str, bits: int) -> None:
    model, x = layer(kind)
    weights = rounded(model, bits, {"layer"}, reduced=False)
    fixed = bias_correction.corrected(
        model, bias_correction.channel_means(model, [{"x": x[:8]}, {"x": x[8:]}]), weights, {"layer"}
    )
    assert weights_of(fixed).__next__().values.tobytes() == weights_of(model).__next__().values.tobytes()

    def mean(of: Any, *, round_weights: bool) -> np.ndarray:
        if round_weights:
            replaced = type(of)()
            replaced.CopyFrom(of)
            replaced.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights["w"].astype(np.float32), "w"))
            of = replaced
        y = session.session(of).run(None, {"x": x})[0]
        return np.asarray(y.mean(axis=(0, *range(2, y.ndim))))

    expected = mean(model, round_weights=False)
    before = np.abs(mean(model, round_weights=True) - expected).max()
    after = np.abs(mean(fixed, round_weights=True) - expected).max()
    assert before > 0.005
    # Positions at the rim are read less often than others, which the mean of a channel does not know.
    assert after < (0.3 if kind == "depthwise" else 0.01) * before + 1e-5


def test_nodes_that_stay_float_keep_their_bias() -> None:
    model, x = layer("conv")
    weights = rounded(model, 3, {"layer"}, reduced=False)
    same = bias_correction.corrected(model, bias_correction.channel_means(model, [{"x": x}]), weights, set())
    assert same.SerializeToString() == model.SerializeToString()
