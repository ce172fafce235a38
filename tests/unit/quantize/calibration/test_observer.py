"""Calibration in the runtime: slices change nothing, memory stays flat, ragged and variable-length inputs work."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads.quantize.calibration import observer as collect
from workloads.quantize.calibration.observer import Observer, tensors_to_observe
from workloads.quantize.calibration.statistics import Statistics


def text_model() -> Any:
    """Gather, MatMul, ReduceMean over a sequence of any length: what a text classifier does."""
    random = np.random.default_rng(0)
    table = numpy_helper.from_array(random.normal(size=(50, 8)).astype(np.float32), "table")
    weight = numpy_helper.from_array(random.normal(size=(8, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], "embed"),
        helper.make_node("ReduceMean", ["embedded"], ["pooled"], "pool", axes=[1], keepdims=0),
        helper.make_node("MatMul", ["pooled", "w"], ["scores"], "product"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "g", [ids], [scores], [table, weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def observed(model: Any, batches: list[dict[str, Any]]) -> Statistics:
    observer, statistics = Observer(model), {}
    for feeds in batches:
        observer.observe(feeds, statistics)
    return statistics


def test_constants_and_integers_are_not_observed() -> None:
    assert tensors_to_observe(text_model()) == ["ids", "embedded", "pooled", "scores"]
    statistics = observed(text_model(), [{"ids": np.zeros((2, 3), np.int64)}])
    assert set(statistics) == {"embedded", "pooled", "scores"}


def test_variable_lengths_and_ragged_batches() -> None:
    """ONNX Runtime's own histogram calibrators stop at the first batch of another shape (onnxruntime#18792)."""
    random = np.random.default_rng(1)
    batches = [{"ids": random.integers(0, 50, shape)} for shape in [(4, 7), (4, 3), (1, 12)]]
    statistics = observed(text_model(), batches)
    assert statistics["embedded"].count == (28 + 12 + 12) * 8
    assert statistics["scores"].batches == 3


def test_slices_of_a_batch_change_nothing(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {"images": np.random.default_rng(2).normal(size=(13, 1, 8, 8)).astype(np.float32)}
    whole = observed(exported, [batch])
    monkeypatch.setattr(collect, "BUDGET", 1 << 14)
    sliced = observed(exported, [batch])
    assert set(whole) == set(sliced)
    for name, tensor in whole.items():
        np.testing.assert_allclose(tensor.minimum, sliced[name].minimum, rtol=1e-6)
        assert tensor.count == sliced[name].count
        assert tensor.batches == sliced[name].batches == 1
        assert tensor.mean_extremes() == pytest.approx(sliced[name].mean_extremes(), rel=1e-6)


def wide_model() -> Any:
    """One convolution whose output is 2 MiB per sample."""
    weight = numpy_helper.from_array(np.ones((8, 1, 3, 3), np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 256, 256])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8, 256, 256])
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_memory_stays_flat_over_the_samples() -> None:
    """128 more samples are 256 MiB of activations; keeping them all, as the library's collectors do, would show."""
    observer, statistics, random = Observer(wide_model()), {}, np.random.default_rng(3)

    def see(samples: int) -> None:
        for _ in range(samples // 8):
            observer.observe({"x": random.normal(size=(8, 1, 256, 256)).astype(np.float32)}, statistics)

    see(32)
    before = resident()
    see(128)
    assert statistics["y"].count == 160 * 8 * 256 * 256
    assert resident() - before < 32 << 20


def test_a_fixed_batch_is_never_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wide_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    monkeypatch.setattr(collect, "BUDGET", 1)
    statistics = observed(model, [{"x": np.ones((4, 1, 256, 256), np.float32)}])
    assert statistics["x"].count == 4 * 256 * 256
    onnx.checker.check_model(model)
