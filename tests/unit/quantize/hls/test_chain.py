"""Graphs that a circuit can be made of give what ONNX Runtime gives; others are refused in words before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.unit.onnx_graphs.graphs import model, random, value
from tests.unit.quantize import jobs
from tests.unit.quantize.hls.networks import FPGA, convolutional, dense, saved
from workloads.errors import BadInput
from workloads.onnx import session
from workloads.quantize.graph import prepare
from workloads.quantize.hls.chain import WEIGHTS, chain_of
from workloads.quantize.hls.network import module_of

pytest.importorskip("hls4ml")


def one_dimensional() -> Any:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], "conv", pads=[1, 1], strides=[2]),
        helper.make_node("LeakyRelu", ["c"], ["r"], "leaky", alpha=0.2),
        helper.make_node("AveragePool", ["r"], ["p"], "pool", kernel_shape=[2], strides=[2]),
        helper.make_node("Reshape", ["p", "shape"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "w"], ["d"], "dense"),
        helper.make_node("Add", ["d", "b"], ["a"], "bias"),
        helper.make_node("Tanh", ["a"], ["y"], "end"),
    ]
    weights = {"k": random(4, 3, 3, seed=1), "w": random(8, 5, seed=2), "b": random(5, seed=3)}
    weights["shape"] = np.array([-1, 8])
    return model(nodes, [value("x", ["n", 3, 8])], [value("y", ["n", 5])], weights)


@pytest.mark.parametrize(
    ("graph", "shape"),
    [(dense, (64,)), (convolutional, (2, 8, 8)), (one_dimensional, (3, 8))],
    ids=["dense", "convolutional", "one-dimensional"],
)
def test_the_module_of_a_chain_is_the_graph(graph: Any, shape: tuple[int, ...]) -> None:
    x = random(7, *shape)
    given = graph()
    for form in (given, prepare.prepared(given, lambda _: True).model):
        wanted = session.session(form).run(None, {"x": x})[0]
        with torch.no_grad():
            found = module_of(chain_of(form))(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def branch() -> Any:
    graph = dense()
    graph.graph.node[2].input[0] = "s"
    graph.graph.node.insert(2, helper.make_node("Add", ["h", "r"], ["s"], "skip"))
    return graph


def padded() -> Any:
    graph = convolutional()
    graph.graph.node[0].attribute[0].ints[:] = [1, 1, 2, 2]
    del graph.graph.node[1:]
    graph.graph.output[0].CopyFrom(value("c", None))
    return graph


def convolution(**attributes: Any) -> Any:
    """The convolution alone, with other attributes; `group` 2 with weights for it."""
    graph = convolutional()
    node = graph.graph.node[0]
    del graph.graph.node[1:]
    for name, given in attributes.items():
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, given)])
    if attributes.get("group", 1) > 1:
        kernel = random(4, 1, 3, 3, seed=1)
        graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(kernel, graph.graph.initializer[0].name))
    graph.graph.output[0].CopyFrom(value("c", None))
    return graph


def pooled(op: str = "MaxPool", **attributes: Any) -> Any:
    """The convolution and a pool of 3 x 3."""
    graph = convolution()
    graph.graph.node.append(helper.make_node(op, ["c"], ["p"], "pool", kernel_shape=[3, 3], **attributes))
    graph.graph.output[0].CopyFrom(value("p", None))
    return graph


def other_input(shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    graph = dense()
    graph.graph.input[0].CopyFrom(value("x", shape, kind))
    return graph


def large() -> Any:
    side = int(WEIGHTS**0.5) + 8
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "m")]
    return model(nodes, [value("x", ["n", side])], [value("y", ["n", side])], {"w": random(side, side)})


def operator(op: str) -> Any:
    graph = dense()
    graph.graph.node[1].op_type = op
    return graph


REFUSED = {
    "a skip": (branch, r"skip \(Add\) reads .*: it is no chain"),
    "padding of one end": (padded, "pads the two ends of an axis differently"),
    "groups": (lambda: convolution(group=2), "conv is a convolution with groups or dilations"),
    "dilations": (lambda: convolution(dilations=[2, 2]), "conv is a convolution with groups or dilations"),
    "one dilated axis": (lambda: convolution(dilations=[1, 2]), "conv is a convolution with groups or dilations"),
    "padding by rule": (lambda: convolution(auto_pad="SAME_LOWER"), "pads the two ends of an axis differently"),
    "a padded pool": (lambda: pooled(pads=[1, 1, 1, 1]), "pool pools with padding, which hls4ml builds in another way"),
    "a padded mean": (lambda: pooled("AveragePool", pads=[1, 1, 1, 1], count_include_pad=1), "pool pools with padding"),
    "a pool that is padded at one end": (lambda: pooled(pads=[0, 0, 1, 1]), "pads the two ends"),
    "a pool that is rounded up": (lambda: pooled(ceil_mode=1, strides=[2, 2]), "pool pools with padding"),
    "a pool that is padded by rule": (lambda: pooled(auto_pad="SAME_UPPER"), "pads the two ends"),
    "a dilated pool": (lambda: pooled(dilations=[2, 2]), "pool pools with dilations"),
    "a free side": (lambda: other_input(["n", None]), "takes float32"),
    "too large": (large, "weights, and a circuit here has 500000 at most"),
    "an operator without a circuit": (lambda: operator("Sin"), "relu is Sin, which has no circuit here .*Conv"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_circuit_can_be_made_of_is_refused_in_words(name: str) -> None:
    graph, words = REFUSED[name]
    with pytest.raises(BadInput, match=words):
        chain_of(graph())


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "a part of which nothing is known": ({"part": "xc8unheard"}, "number of DSP slices is not known here"),
    "a layer that is not there": (
        {"perLayer": [{"name": "conv9", "reuseFactor": 2}]},
        "perLayer names conv9; the layers with weights are dense1, dense2",
    ),
    "a factor that divides nothing": ({"reuseFactor": 7}, "reuse factor 7 does not divide dense1's 64 x 32 .*4 and 8"),
    "a factor that needs more than there is": ({"reuseFactor": 1}, "does not fit .*2368 DSPs are the fewest .*220"),
    "too few": ({"dsps": 1}, "does not fit"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_cannot_be_built_is_refused_by_the_first_stage(tmp_path: Path, name: str) -> None:
    fields, words = FIELDS[name]
    source, data = saved(tmp_path, dense(), random(40, 64))
    target = {"runtime": "hls", "fpga": {**FPGA, **fields}}
    job = jobs.job(
        tmp_path / "job", source, calibration=data, evaluation={**data, "metric": "agreement"}, target=target
    )
    with pytest.raises(BadInput, match=words):
        jobs.run(job)
    assert not jobs.work_of(job).path("candidates").exists()


@pytest.mark.parametrize(
    "exclude", [{"nodes": ["first"]}, {"opTypes": ["Gemm"]}, {"nodes": ["fir*"]}], ids=["node", "type", "pattern"]
)
def test_nodes_that_shall_stay_float_are_refused_before_any_work(tmp_path: Path, exclude: dict[str, Any]) -> None:
    source, data = saved(tmp_path, dense(), random(40, 64))
    fields = {"calibration": data, "evaluation": {**data, "metric": "agreement"}, "exclude": exclude}
    job = jobs.job(tmp_path / "job", source, target={"runtime": "hls", "fpga": FPGA}, **fields)
    with pytest.raises(
        BadInput, match=r"spec\.exclude keeps nodes in float, and a circuit has no floats: leave it out"
    ):
        jobs.run(job)
    assert not jobs.work_of(job).path("candidates").exists()
