"""A gate that sees: for every task a ruined candidate fails and a harmless one passes, with labels and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from slipway.api.quantization.evaluation import Evaluation, EvaluationTask
from slipway.api.quantization.gates import Gates
from tests.unit.onnx_graphs.graphs import classifier, model, quantize, random, value
from workloads.errors import BadInput
from workloads.onnx import session
from workloads.quantize.evaluation.gates import LEAST_DB, Distinctions, judge
from workloads.quantize.evaluation.judged import judged
from workloads.quantize.evaluation.scores import Comparison

SAMPLES = 200


def network(end: list[Any], width: int, shape: list[Any], feature: int = 16) -> Any:
    """x [n, 16] -> two products -> h [n, width] -> the nodes of `end` -> y."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["h"], "second"),
        *end,
    ]
    weights = {"w1": random(feature, 32, seed=1, scale=0.3), "w2": random(32, width, seed=2, scale=0.3)}
    return model(nodes, [value("x", ["n", feature])], [value("y", shape)], weights)


def reshaped(shape: list[int], *more: Any) -> tuple[list[Any], Any]:
    return [helper.make_node("Reshape", ["h", "shape"], ["s"]), *more], np.array(shape, np.int64)


def of_task(task: EvaluationTask) -> Any:
    make = helper.make_node
    if task is EvaluationTask.SEQUENCE:
        nodes, array = reshaped([-1, 12, 4], make("Softmax", ["s"], ["y"], axis=-1))
        graph = network(nodes, 48, ["n", 12, 4])
        graph.graph.initializer.append(numpy_helper.from_array(array, "shape"))
        return graph
    if task in {EvaluationTask.TAGGING, EvaluationTask.SEGMENTATION, EvaluationTask.IMAGE}:
        shape, axis = ([-1, 6, 4], -1) if task is EvaluationTask.TAGGING else ([-1, 3, 4, 4], 1)
        end = (
            make("Softmax", ["s"], ["y"], axis=axis) if task is not EvaluationTask.IMAGE else make("Tanh", ["s"], ["y"])
        )
        nodes, array = reshaped(shape, end)
        graph = network(nodes, int(np.prod(shape[1:])), ["n", *shape[1:]])
        graph.graph.initializer.append(numpy_helper.from_array(array, "shape"))
        return graph
    ends = {
        EvaluationTask.CLASSIFICATION: ([make("Softmax", ["h"], ["y"], axis=-1)], 5),
        EvaluationTask.BINARY: ([make("Sigmoid", ["h"], ["y"])], 1),
        EvaluationTask.MULTI_LABEL: ([make("Sigmoid", ["h"], ["y"])], 6),
        EvaluationTask.REGRESSION: ([make("Identity", ["h"], ["y"])], 1),
        EvaluationTask.EMBEDDING: ([make("LpNormalization", ["h"], ["y"], axis=-1, p=2)], 24),
        EvaluationTask.CLOSENESS: ([make("Identity", ["h"], ["y"])], 9),
        EvaluationTask.CUSTOM: ([make("Identity", ["h"], ["y"])], 9),
    }
    nodes, width = ends[task]
    return network(nodes, width, ["n", width])


class Given:
    """Samples that are there."""

    digest, name, labelled, classes = "sha256:0", "given", False, 0

    def __init__(self, feeds: Any, labels: Any = None) -> None:
        self.feeds, self.labels = feeds, labels

    def __len__(self) -> int:
        return len(self.feeds["x"])

    def batches(self, chosen: Any, size: int) -> Any:
        return [list(chosen[i : i + size]) for i in range(0, len(chosen), size)]

    def read(self, batch: Any) -> Any:
        from workloads.onnx.feeds import Batch

        return Batch({"x": self.feeds["x"][batch]}, None if self.labels is None else self.labels[batch])


def verdict(graph: Any, candidate: Any, task: EvaluationTask, feeds: Any) -> Any:
    own = {"function": "tests.unit.onnx_graphs.gate.own_measure:score"} if task is EvaluationTask.CUSTOM else {}
    choice = Evaluation.model_validate({"uri": "file:///d.npz", "metric": "agreement", "task": task.value, **own})
    found = judged(graph, choice, None)
    comparison = Comparison(found.measure, found.places, labelled=False)
    samples = Given(feeds)
    scores = comparison.run(graph, candidate, samples, samples.batches(range(len(samples)), 64))
    sight = Distinctions(scores.sqnr_db, LEAST_DB, scores.float_decisions, scores.decisions)
    gates = Gates.model_validate({"accuracy": {"maxDrop": 0.05}})
    return judge(gates, scores.difference(0.95), 0.3, None, sight)


def changed(graph: Any, name: str, change: Any) -> Any:
    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    tensor = next(each for each in copied.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return copied


def squashed(weights: Any) -> Any:
    """A scale that is much too large: a handful of levels are left."""
    step = np.abs(weights).max() * 0.9
    return np.round(weights / step) * step


def rounded(weights: Any) -> Any:
    """What 8 bits per channel do."""
    scale = np.abs(weights).max(0, keepdims=True) / 127
    return np.round(weights / scale) * scale


RUINED = {
    "scale x 4 of one layer's channels": lambda w: w * np.where(np.arange(w.shape[1]) % 2, 4.0, 1.0),
    "outputs swapped": lambda w: np.roll(w, 1, axis=1) if w.shape[1] > 1 else -w,
    "constant": lambda w: w * 0,
    "a few levels": squashed,
}


@pytest.mark.parametrize("task", list(EvaluationTask))
@pytest.mark.parametrize("how", RUINED)
def test_a_ruined_candidate_fails(task: EvaluationTask, how: str) -> None:
    graph = of_task(task)
    # A scale of the last layer that is wrong for all outputs alike changes no decision: the first layer's does.
    layer = "w1" if how.startswith("scale") else "w2"
    assert not verdict(graph, changed(graph, layer, RUINED[how]), task, {"x": random(SAMPLES, 16)}).passed


@pytest.mark.parametrize("task", list(EvaluationTask))
def test_a_harmless_candidate_passes(task: EvaluationTask) -> None:
    graph = of_task(task)
    found = verdict(graph, changed(changed(graph, "w2", rounded), "w1", rounded), task, {"x": random(SAMPLES, 16)})
    assert found.passed, found.words()


@pytest.mark.parametrize("task", list(EvaluationTask))
def test_the_graph_tells_its_task_where_it_can(task: EvaluationTask) -> None:
    graph = of_task(task)
    choice = Evaluation.model_validate({"uri": "file:///d.npz", "metric": "agreement"})
    unknown = {EvaluationTask.IMAGE: EvaluationTask.CLOSENESS, EvaluationTask.CUSTOM: EvaluationTask.CLOSENESS}
    # What reads a sequence tags positions, too: only the job can say which it is.
    expected = {**unknown, EvaluationTask.SEQUENCE: EvaluationTask.TAGGING}.get(task, task)
    assert judged(graph, choice, None).task is expected


def test_an_embedding_is_not_judged_by_its_largest_coordinate(tmp_path: Path) -> None:
    graph = network([helper.make_node("Identity", ["h"], ["y"])], 24, ["n", 24])
    choice = Evaluation.model_validate({"uri": "file:///d.npz", "metric": "agreement"})
    assert judged(graph, choice, None).task is EvaluationTask.CLOSENESS


def test_all_outputs_of_a_model_with_several_are_judged(tmp_path: Path) -> None:
    graph = network([helper.make_node("Identity", ["h"], ["y"])], 4, ["n", 4])
    graph.graph.node.append(helper.make_node("MatMul", ["r", "w3"], ["z"], "third"))
    graph.graph.initializer.append(numpy_helper.from_array(random(32, 2, seed=4), "w3"))
    graph.graph.output.append(value("z", ["n", 2]))
    choice = Evaluation.model_validate({"uri": "file:///d.npz", "metric": "agreement"})
    assert judged(graph, choice, None).places == (0, 1)
    spoilt = changed(graph, "w3", lambda w: w * 0)
    assert not verdict(graph, spoilt, EvaluationTask.CLOSENESS, {"x": random(SAMPLES, 16)}).passed


def test_a_job_over_one_number_is_judged_by_its_decisions(tmp_path: Path) -> None:
    """It was 100 % agreement whatever happened: the largest of one score is always the first."""
    found = quantize(tmp_path, of_task(EvaluationTask.BINARY), {"x": random(SAMPLES, 16)}, ["static-per-tensor"])
    assert any("judged as binary" in warning for warning in found.warnings)
    assert all(row.accuracy is not None for row in found.comparison[1:])


def top1(folder: Path) -> dict[str, str]:
    return {"uri": (folder / "data.npz").as_uri(), "metric": "top-1"}


def test_samples_of_one_kind_are_refused(tmp_path: Path) -> None:
    one = np.repeat(random(1, 16), 40, axis=0)
    with pytest.raises(BadInput, match="same answer"):
        quantize(tmp_path, of_task(EvaluationTask.CLASSIFICATION), {"x": one}, ["dynamic"])


def test_one_label_for_all_is_refused(tmp_path: Path) -> None:
    feeds = {"x": random(40, 16), "labels": np.zeros(40, np.int64)}
    with pytest.raises(BadInput, match="same"):
        quantize(
            tmp_path,
            classifier(),
            feeds,
            ["dynamic"],
            evaluation={"uri": (tmp_path / "data.npz").as_uri(), "metric": "top-1"},
        )


def test_classes_of_one_number_are_refused_in_words(tmp_path: Path) -> None:
    feeds = {"x": random(40, 16), "labels": np.arange(40) % 2}
    with pytest.raises(BadInput, match=r"set evaluation\.task"):
        quantize(tmp_path, of_task(EvaluationTask.BINARY), feeds, ["dynamic"], evaluation=top1(tmp_path))


@pytest.mark.parametrize("task", [EvaluationTask.BINARY, EvaluationTask.REGRESSION, EvaluationTask.MULTI_LABEL])
def test_labels_of_the_tasks_own_kind(tmp_path: Path, task: EvaluationTask) -> None:
    graph, x = of_task(task), random(SAMPLES, 16)
    y = session.session(graph).run(None, {"x": x})[0]
    labels = y if task is EvaluationTask.REGRESSION else (y > 0.5).astype(np.int64)
    feeds = {"x": x, "labels": labels[:, 0] if task is EvaluationTask.BINARY else labels}
    where = {"uri": (tmp_path / "data.npz").as_uri()}
    found = quantize(
        tmp_path, graph, feeds, ["weight-only-int8"], evaluation={**where, "metric": "labels", "task": task.value}
    )
    rows = {row.name: row.accuracy for row in found.comparison}
    assert rows["float"] == pytest.approx(1.0)
    assert rows["weight-only-int8"] is not None
    assert rows["weight-only-int8"] > 0.9


@pytest.mark.parametrize("amount", [1.0, 1e-3])
def test_random_numbers_that_drown_the_answers_are_refused_and_small_ones_are_not(
    tmp_path: Path, amount: float
) -> None:
    end = [
        helper.make_node("RandomNormalLike", ["h"], ["e"], "noise", scale=amount),
        helper.make_node("Add", ["h", "e"], ["y"], "sum"),
    ]
    graph, feeds = network(end, 4, ["n", 4]), {"x": random(48, 16)}
    if amount == 1.0:
        with pytest.raises(BadInput, match=r"differently each time: noise \(RandomNormalLike\) draws"):
            quantize(tmp_path, graph, feeds, ["dynamic"])
    else:
        assert quantize(tmp_path, graph, feeds, ["dynamic"]).comparison[-1].accuracy == 1.0
