"""Exact kernels of CPUs without VNNI, for models that share weights: what a VNNI node published loads there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from slipway.api.quantization.ladder import Hardware, Target
from tests.unit.onnx_graphs.graphs import model, random, value
from workloads.onnx import exact_kernels, saturation, session
from workloads.quantize.algorithms import qdq
from workloads.quantize.algorithms.target import profile_of
from workloads.quantize.calibration.scale import Range
from workloads.serve.engines import onnx_runtime as engine

TENSORS = ("x", "a", "b", "c", "y")


def products(kind: str) -> Any:
    """One weight for two products, whichever way round."""
    make = helper.make_node
    last = (
        make("Gemm", ["b", "w"], ["y"], "two", transB=1) if kind == "Gemm" else make("MatMul", ["b", "w"], ["y"], "two")
    )
    nodes = [
        make("Gemm" if kind == "Gemm" else "MatMul", ["x", "w"], ["a"], "one"),
        make("Relu", ["a"], ["b"], "relu"),
        last,
    ]
    return model(nodes, [value("x", ["n", 32])], [value("y", ["n", 32])], {"w": random(32, 32, seed=1, scale=0.2)})


def convolutions(_: str) -> Any:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "one", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w"], ["y"], "two", pads=[1] * 4),
    ]
    shape = ["n", 8, 6, 6]
    return model(nodes, [value("x", shape)], [value("y", shape)], {"w": random(8, 8, 3, 3, seed=1, scale=0.2)})


GRAPHS = {"MatMul": products, "Gemm": products, "Conv": convolutions}
FORMS = ("static-per-tensor", "static-per-channel", "dynamic", "weight-only-int8")


def quantized(kind: str, form: str) -> Any:
    """Made where there is VNNI: weights use all 8 bits."""
    given = qdq.prepare(GRAPHS[kind](kind))
    profile, nodes = profile_of(Target(hardware=Hardware.X86_VNNI)), ["one", "relu", "two"]
    if form == "dynamic":
        return qdq.dynamic(given, profile, nodes)
    if form == "weight-only-int8":
        return qdq.weight_only(given, 8, nodes)
    ranges = dict.fromkeys(TENSORS, Range(-12.0, 12.0))
    return qdq.static(given, ranges, profile, nodes, per_channel=form == "static-per-channel")


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "hardware", lambda: Hardware.X86)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", GRAPHS)
def test_a_weight_that_two_nodes_share_loads_and_answers_as_with_vnni(
    kind: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = quantized(kind, form)
    x = random(5, *(32,) if kind != "Conv" else (8, 6, 6), seed=3)
    expected = session.session(made).run(None, {"x": x})[0]
    monkeypatch.setattr(saturation, "hardware", lambda: Hardware.X86)
    assert saturation.saturates(made) == (form != "weight-only-int8" and (form, kind) != ("dynamic", "Conv"))
    found = session.session(made).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.usefixtures("without_vnni")
@pytest.mark.parametrize("form", FORMS[:3])
def test_the_server_loads_it_too(form: str, tmp_path: Path) -> None:
    made = quantized("MatMul", form)
    onnx.save(made, tmp_path / "model.onnx")
    served = onnxruntime.InferenceSession(*loadable(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    x = random(5, 32, seed=3)
    np.testing.assert_array_equal(served.run(None, {"x": x})[0], session.session(made).run(None, {"x": x})[0])


def loadable(path: Path) -> tuple[str | bytes, Any]:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    return engine._loadable(path, settings), settings


def test_only_what_is_shared_is_copied() -> None:
    given = products("MatMul")
    assert exact_kernels.apart(given) is given
    shared = quantized("MatMul", "static-per-tensor")
    before = shared.SerializeToString()
    made = exact_kernels.apart(shared)
    assert shared.SerializeToString() == before
    int8 = [tensor for tensor in made.graph.initializer if tensor.data_type == tensor.INT8]
    reads = [name for node in made.graph.node for name in node.input]
    assert all(reads.count(tensor.name) == 1 for tensor in int8)
    onnx.checker.check_model(made)
    assert exact_kernels.apart(made) is made
