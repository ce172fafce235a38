"""Models whose first axis is not the batch: each kind of call that was cut into wrong samples, in its least form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit.onnx_graphs.graphs import SAMPLES, built, classifier, model, quantize, random, value
from tests.unit.quantize import jobs
from workloads.errors import BadInput
from workloads.quantize.context import Context
from workloads.quantize.job import Overrides, read_job
from workloads.quantize.run import _opened

STATIC = ["static-per-channel"]
LADDER = [*STATIC, "dynamic", "weight-only-int8"]
STEPS, WIDE, HIDDEN, CLASSES = 7, 8, 16, 16
GATES = {"lstm": 4, "gru": 3}


def recurrent(kind: str, axes: list[Any], *, states: bool = True, last: bool = True) -> Any:
    """[time, batch, features] and the states; the last step's scores [batch, classes], and the states again."""
    count = GATES[kind]
    names = ["x", "w", "r", "b", "", *(["h", "c"] if kind == "lstm" else ["h"])] if states else ["x", "w", "r", "b"]
    outputs = ["y", "hn", *(["cn"] if kind == "lstm" else [])]
    nodes = [
        helper.make_node(kind.upper(), names, outputs, "cells", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["hn" if last else "y", "zero" if last else "one"], ["top"], "squeeze"),
        helper.make_node("MatMul", ["top", "v"], ["scores"], "product"),
    ]
    weights = {
        "w": random(1, count * HIDDEN, WIDE, seed=1, scale=0.3),
        "r": random(1, count * HIDDEN, HIDDEN, seed=2, scale=0.3),
        "b": random(1, 2 * count * HIDDEN, seed=3, scale=0.1),
        "v": random(HIDDEN, CLASSES, seed=4),
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    held = [1, axes[1], HIDDEN]
    extra = ["h", "c"][: 2 if kind == "lstm" else 1] if states else []
    given = [value("x", [*axes, WIDE]), *(value(name, held) for name in extra)]
    made = [
        value("scores", [axes[1 if last else 0], CLASSES]) if last else value("scores", [axes[0], axes[1], CLASSES])
    ]
    made += [value(f"{name}n", held) for name in extra]
    return model(nodes, given, made, weights)


def states(kind: str, count: int, batch: int = 1) -> dict[str, Any]:
    return {name: random(count, 1, batch, HIDDEN, seed=5) for name in ["h", "c"][: 2 if kind == "lstm" else 1]}


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_recurrent_model_with_states_is_judged_sequence_by_sequence(tmp_path: Path, kind: str) -> None:
    """An array with one axis more: a whole call of the model for each sample."""
    feeds = {"x": random(SAMPLES, STEPS, 1, WIDE), **states(kind, SAMPLES)}
    found = quantize(tmp_path, recurrent(kind, ["time", "batch"]), feeds, LADDER)
    assert {row.rung for row in built(found).values()} == set(LADDER)
    assert all(row.sqnr_db is None or row.sqnr_db > 15 for row in built(found).values())


def test_the_axis_that_is_called_the_batch_counts_sequences(tmp_path: Path) -> None:
    feeds = {"x": random(STEPS, SAMPLES, WIDE), "h": random(1, SAMPLES, HIDDEN, seed=5)}
    quantize(tmp_path, recurrent("gru", ["time", "batch"]), feeds, STATIC)
    context = opened(tmp_path)
    assert len(context.evaluation) == SAMPLES
    one = context.evaluation.read([5]).feeds
    assert np.array_equal(one["x"], feeds["x"][:, 5:6])
    assert np.array_equal(one["h"], feeds["h"][:, 5:6])


def opened(folder: Path) -> Context:
    """The job that `quantize` ran, from what it left in its work folder."""
    return _opened(read_job(folder / "job" / "job.yaml", Overrides()), jobs.quiet(), shards=1)


@pytest.mark.parametrize("last", [True, False])
def test_steps_of_time_are_not_taken_for_samples(tmp_path: Path, last: bool) -> None:
    graph = recurrent("lstm", ["s0", "s1"], states=False, last=last)
    if not last:
        graph.graph.node[1].input[0] = "y"
    with pytest.raises(BadInput, match="one axis more"):
        quantize(tmp_path, graph, {"x": random(SAMPLES, 1, WIDE)}, STATIC)


def test_a_softmax_over_the_first_axis_mixes_samples(tmp_path: Path) -> None:
    graph = classifier()
    graph.graph.node[1].op_type = "Softmax"
    graph.graph.node[1].attribute.append(helper.make_attribute("axis", 0))
    with pytest.raises(BadInput, match="mixes samples"):
        quantize(tmp_path, graph, {"x": random(SAMPLES, 16)}, STATIC)


def scaled(axes: list[Any], rate: list[Any]) -> Any:
    """Scores of x times a rate."""
    graph = classifier()
    graph.graph.input[0].CopyFrom(value("x", axes))
    graph.graph.input.append(value("rate", rate))
    graph.graph.node.insert(0, helper.make_node("Mul", ["x", "rate"], ["loud"], "loud"))
    graph.graph.node[1].input[0] = "loud"
    return graph


@pytest.mark.parametrize(
    "feeds",
    [
        {"x": random(SAMPLES, 16), "rate": np.float32(2)},
        {"x": random(SAMPLES, 16), "rate": np.linspace(1, 3, SAMPLES, dtype=np.float32)},
        {"x": random(SAMPLES, 1, 16), "rate": np.linspace(1, 3, SAMPLES, dtype=np.float32)},
    ],
    ids=["one for all", "one for each row", "one for each call"],
)
def test_a_scalar_input(tmp_path: Path, feeds: dict[str, Any]) -> None:
    found = quantize(tmp_path, scaled(["batch", 16], []), feeds, LADDER)
    assert {row.rung for row in built(found).values()} == set(LADDER)
    context = opened(tmp_path)
    assert len(context.evaluation) == SAMPLES
    one = context.evaluation.read([7]).feeds
    assert one["rate"].shape == ()
    assert one["x"].shape == (1, 16)
    assert one["rate"] == np.broadcast_to(feeds["rate"], SAMPLES)[7]


def test_inputs_without_any_axis_for_samples(tmp_path: Path) -> None:
    graph = classifier()
    graph.graph.input[0].CopyFrom(value("x", [16]))
    graph.graph.output[0].CopyFrom(value("y", [4]))
    found = quantize(tmp_path, graph, {"x": random(SAMPLES, 16)}, LADDER)
    assert {row.rung for row in built(found).values()} >= {"static-per-channel"}
    with pytest.raises(BadInput, match="one axis more"):
        quantize(tmp_path / "one", graph, {"x": random(9)}, STATIC)


def test_a_ruined_time_step_is_seen(tmp_path: Path) -> None:
    """The whole answer of [1, time, classes -> time, classes] is compared, not its first row."""
    from workloads.quantize.evaluation.measures import measure_of
    from workloads.quantize.evaluation.scores import Comparison

    graph = squeezed()
    ruined = model_like(graph)
    ruined.graph.node.append(helper.make_node("Mul", ["y", "mask"], ["masked"], "mask"))
    ruined.graph.initializer.append(_constant("mask", np.array([[1.0]] + [[0.0]] * (STEPS - 1), np.float32)))
    ruined.graph.output[0].name = "masked"
    quantize(tmp_path, graph, {"x": random(SAMPLES, STEPS, 16)}, STATIC)
    context = opened(tmp_path)
    assert context.judged.task == "closeness"
    comparison = Comparison(measure_of(context.judged.task, 0), [0], labelled=False, axes=context.output_axes)
    said = comparison.run(graph, ruined, context.evaluation, context.evaluation_batches())
    assert said.own.max() < 0.5


def squeezed() -> Any:
    """[1, time, features] -> [time, classes]."""
    graph = classifier()
    graph.graph.input[0].CopyFrom(value("x", [1, "time", 16]))
    graph.graph.node.insert(0, helper.make_node("Squeeze", ["x", "zero"], ["flat"], "squeeze"))
    graph.graph.node[1].input[0] = "flat"
    graph.graph.initializer.append(_constant("zero", np.array([0])))
    graph.graph.output[0].CopyFrom(value("y", ["time", 4]))
    return graph


def _constant(name: str, values: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(values, name)


def model_like(graph: Any) -> Any:
    copied = type(graph)()
    copied.CopyFrom(graph)
    return copied


def test_a_first_axis_of_one_and_a_free_second_take_calls_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for length in range(3, 23):
        np.savez(tmp_path / "data" / f"{length:02}.npz", x=random(2, length, 16, seed=length))
    folder = {"uri": (tmp_path / "data").as_uri()}
    data = {"calibration": {**folder, "methods": ["min-max"]}, "evaluation": {**folder, "metric": "agreement"}}
    found = quantize(tmp_path, squeezed(), {}, LADDER, **data)
    assert {row.rung for row in built(found).values()} >= {"static-per-channel", "weight-only-int8"}


def test_an_output_whose_second_axis_is_the_batch_is_judged_by_it(tmp_path: Path) -> None:
    graph = classifier()
    graph.graph.node.append(helper.make_node("Transpose", ["y"], ["turned"], "turn", perm=[1, 0]))
    graph.graph.output[0].CopyFrom(value("turned", [4, "n"]))
    found = quantize(tmp_path, graph, {"x": random(SAMPLES, 16)}, LADDER)
    assert {row.rung for row in built(found).values()} == set(LADDER)
    context = opened(tmp_path)
    assert context.output_axes == {"turned": 1}
    assert len(context.evaluation_batches()) == 1


def test_an_output_that_mixes_samples_beside_one_that_does_not_is_judged_one_by_one(tmp_path: Path) -> None:
    graph = classifier()
    graph.graph.node.append(helper.make_node("ReduceMean", ["y"], ["mean"], "mean", keepdims=0))
    graph.graph.output.append(value("mean", []))
    quantize(tmp_path, graph, {"x": random(SAMPLES, 16)}, STATIC)
    context = opened(tmp_path)
    assert context.output_axes == {"y": 0, "mean": None}
    assert context.judged.places == (0, 1)
    assert len(context.evaluation_batches()) == SAMPLES


def test_inputs_with_different_batch_axes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["z"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("Add", ["x", "t"], ["s"], "sum"),
        helper.make_node("MatMul", ["s", "w"], ["y"], "product"),
    ]
    graph = model(
        nodes,
        [value("x", ["batch", 16]), value("z", [16, "batch"])],
        [value("y", ["batch", 32])],
        {"w": random(16, 32, seed=1)},
    )
    found = quantize(tmp_path, graph, {"x": random(SAMPLES, 16), "z": random(16, SAMPLES, seed=6)}, LADDER)
    assert {row.rung for row in built(found).values()} == set(LADDER)


def test_arrays_that_fit_neither_way_are_refused_in_words(tmp_path: Path) -> None:
    graph = recurrent("gru", ["time", "batch"])
    feeds = {"x": random(SAMPLES, STEPS, 1, WIDE), **states("gru", SAMPLES - 1)}
    with pytest.raises(BadInput, match="different numbers of samples"):
        quantize(tmp_path, graph, feeds, STATIC)
    with pytest.raises(BadInput, match="h has shape"):
        quantize(tmp_path / "rank", graph, {"x": random(SAMPLES, STEPS, 1, WIDE), "h": random(HIDDEN)}, STATIC)
    other = {"x": random(SAMPLES, STEPS, 1, WIDE + 1), **states("gru", SAMPLES)}
    with pytest.raises(BadInput, match="x has shape"):
        quantize(tmp_path / "width", graph, other, STATIC)


def test_an_integer_scalar_and_labels_of_each_call(tmp_path: Path) -> None:
    graph = scaled(["batch", 16], [])
    graph.graph.input[1].CopyFrom(value("rate", [], TensorProto.INT64))
    graph.graph.node.insert(0, helper.make_node("Cast", ["rate"], ["speed"], "cast", to=TensorProto.FLOAT))
    graph.graph.node[1].input[1] = "speed"
    labels = np.arange(SAMPLES) % 4
    feeds = {"x": random(SAMPLES, 16), "rate": np.int64(16000), "labels": labels}
    data = {"uri": (tmp_path / "data.npz").as_uri()}
    found = quantize(tmp_path, graph, feeds, STATIC, evaluation={**data, "metric": "top-1"})
    assert built(found)
