"""SmoothQuant: the function stays, the outlying channels go, and what is folded costs no node."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.api.quantization.ladder import Target
from slipway.api.quantization.settings import CalibrationMethod
from workloads.onnx import session
from workloads.quantize.algorithms import qdq, smooth_quant
from workloads.quantize.algorithms.target import profile_of
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.statistics import Statistics
from workloads.quantize.evaluation import answers

WIDTH, NODES = 16, {"first", "second", "gemm"}


def block(*, residual: bool) -> Any:
    """Layer normalisation with two loud channels, two products of it, ReLU, Gemm; with or without another reader."""
    random = np.random.default_rng(1)
    gain = np.ones(WIDTH)
    gain[[3, 9]] = 60.0
    constants = {
        "gain": gain,
        "shift": random.normal(size=WIDTH),
        "w1": random.normal(size=(WIDTH, WIDTH)) / 8,
        "w2": random.normal(size=(WIDTH, WIDTH)) / 8,
        "w3": random.normal(size=(5, WIDTH)) / 4,
    }
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["n"], "normal", axis=-1),
        helper.make_node("MatMul", ["n", "w1"], ["a"], "first"),
        helper.make_node("MatMul", ["n", "w2"], ["b"], "second"),
        helper.make_node("Add", ["a", "b"], ["c"], "sum"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Add", ["r", "n" if residual else "r"], ["d"], "residual"),
        helper.make_node("Gemm", ["d", "w3"], ["y"], "gemm", transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def samples(count: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(2).normal(size=(count, WIDTH)).astype(np.float32)}


def smoothed(model: Any, alpha: float) -> tuple[Any, list[str]]:
    peaks = smooth_quant.peaks_of(model, set(smooth_quant.products_of(model, NODES)), [samples(64), samples(32)])
    return smooth_quant.smoothed(model, peaks, NODES, alpha)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("alpha", smooth_quant.ALPHAS)
def test_it_is_the_same_function(residual: bool, alpha: float) -> None:
    model, feeds = block(residual=residual), samples(50)
    found, changed = smoothed(model, alpha)
    expected = session.session(model).run(None, feeds)[0]
    np.testing.assert_allclose(session.session(found).run(None, feeds)[0], expected, rtol=2e-4, atol=2e-4)
    # Folded into the normalisation where nothing else reads it; the Gemm's input has no normalisation before it.
    assert changed == (["n_smoothed", "d_smoothed"] if residual else ["n", "d_smoothed"])
    assert qdq.operators(found).get("Mul", 0) == len(changed) - ("n" in changed)
    assert len(found.SerializeToString()) < len(model.SerializeToString()) + 2000


def test_the_factors_are_the_papers() -> None:
    model = block(residual=False)
    products = smooth_quant.products_of(model, NODES)["n"]
    peak = np.arange(WIDTH, dtype=np.float64)
    weights = np.stack([numpy_helper.to_array(product.weight) for product in products])
    expected = np.sqrt(peak[1:] / np.abs(weights).max(axis=(0, 2))[1:])
    factors = smooth_quant.factors_of(peak, products, 0.5)
    assert factors[0] == 1.0
    np.testing.assert_allclose(factors[1:], expected, rtol=1e-6)


def test_outliers_cost_less() -> None:
    """Static int8 of the smoothed block has less noise than of the block as it was, with the same method."""
    model, feeds = qdq.prepare(block(residual=False)), samples(256)
    reference, profile = session.session(model).run(None, feeds)[0], profile_of(Target())

    def noise(candidate: Any) -> float:
        seen = Statistics()
        Observer(candidate).observe(feeds, seen)
        found = {n: ranges.find(t, CalibrationMethod.MIN_MAX, profile.activations, 99.9) for n, t in seen.items()}
        quantized = qdq.static(candidate, found, profile, sorted(NODES), per_channel=True)
        value = answers.sqnr_db(reference, session.session(quantized).run(None, feeds)[0])
        assert value is not None
        return value

    before, after = noise(model), noise(smoothed(model, 0.5)[0])
    assert after > before + 4


def test_products_that_are_excluded_stay_as_they_are() -> None:
    model = block(residual=False)
    found, changed = smooth_quant.smoothed(model, {"n": np.full(WIDTH, 9.0)}, {"gemm"}, 0.5)
    assert changed == []
    assert found.SerializeToString() == model.SerializeToString()
