"""Blindness: for every metric and task a ruined candidate fails the gates of a real job, and a harmless one passes.

A candidate is quantized as a rung would quantize it, after its float weights were ruined: so it fails for what it
answers, and not for being no quantized model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from slipway.api.quantization.evaluation import EvaluationMetric, EvaluationTask
from slipway.api.quantization.ladder import Rung
from tests.unit.onnx_graphs.gate.test_gate_sight import changed, of_task
from tests.unit.onnx_graphs.graphs import model, random, value
from tests.unit.quantize import jobs
from workloads.onnx import session
from workloads.quantize import run
from workloads.quantize.algorithms import qdq
from workloads.quantize.context import Context
from workloads.quantize.evaluation import sequences
from workloads.quantize.ladder.candidates import Attempt, consider
from workloads.quantize.ladder.order import next_stage

SAMPLES, BOXES = 240, 6
LABELLED = [task for task in EvaluationTask if task not in {EvaluationTask.CLOSENESS, EvaluationTask.CUSTOM}]
DETECTION = "detection"
CASES = [
    *(("agreement", task) for task in EvaluationTask),
    *(("labels", task) for task in LABELLED),
    ("top-1", EvaluationTask.CLASSIFICATION),
    ("average-precision-50", DETECTION),
]
RUINED = {
    "one layer's scale x 4": ("w1", lambda w: w * 4),
    "the scale of every second channel x 4": ("w1", lambda w: w * np.where(np.arange(w.shape[1]) % 2, 4.0, 1.0)),
    "outputs swapped": ("last", lambda w: np.roll(w, 1, axis=1) if w.shape[1] > 1 else -w),
    "constant": ("last", lambda w: w * 0),
    "a few levels": ("last", lambda w: np.round(w / (np.abs(w).max() * 0.9)) * np.abs(w).max() * 0.9),
}


def detector() -> Any:
    """x [n, 16] -> [n, 6, 5 + 2] in YOLOv5's layout, sure of what it sees."""
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "w1"], ["h"], "first"),
        make("Reshape", ["h", "shape"], ["r"], "rows"),
        make("Sigmoid", ["r"], ["s"], "scores"),
        make("Mul", ["s", "pixels"], ["y"], "boxes"),
    ]
    sure = np.tile(np.array([0.3, 0.3, 0.2, 0.2, 2.0, 2.0, 2.0], np.float32), BOXES)
    weights = {
        "w1": random(16, 7 * BOXES, seed=1) * sure,
        "shape": np.array([-1, BOXES, 7], np.int64),
        "pixels": np.array([400, 400, 80, 80, 1, 1, 1], np.float32),
    }
    return model(nodes, [value("x", ["n", 16])], [value("y", ["n", BOXES, 7])], weights)


def biased(graph: Any) -> Any:
    """With a bias before the first activation, so that a scale of all weights alike changes what is decided."""
    if any(node.name == "relu" for node in graph.graph.node):
        relu = next(node for node in graph.graph.node if node.name == "relu")
        place = list(graph.graph.node).index(relu)
        graph.graph.node.insert(place, helper.make_node("Add", ["a", "b1"], ["biased"], "bias"))
        relu.input[0] = "biased"
        graph.graph.initializer.append(numpy_helper.from_array(random(32, seed=9, scale=1.5), "b1"))
    return graph


def labels_of(graph: Any, task: Any, x: Any) -> Any:
    """What the float model itself says, in the task's own kind."""
    said = session.session(graph).run(None, {"x": x})[0]
    kinds: dict[Any, Any] = {
        DETECTION: objects,
        EvaluationTask.SEQUENCE: lambda rows: sequences.padded(rows, 0),
        EvaluationTask.CLASSIFICATION: lambda rows: rows.argmax(-1),
        EvaluationTask.TAGGING: lambda rows: rows.argmax(-1),
        EvaluationTask.SEGMENTATION: lambda rows: rows.argmax(1),
        EvaluationTask.EMBEDDING: sides,
        EvaluationTask.BINARY: lambda rows: (rows[:, 0] > 0.5).astype(np.int64),
        EvaluationTask.MULTI_LABEL: lambda rows: (rows > 0.5).astype(np.int64),
        EvaluationTask.REGRESSION: lambda rows: rows[:, 0],
        EvaluationTask.IMAGE: lambda rows: rows,
    }
    return kinds[task](said)


def objects(said: Any) -> Any:
    """The boxes that are more likely than not, in rows of class and box."""
    rows = np.full((len(said), BOXES, 5), -1, np.float32)
    for row, boxes in zip(rows, said, strict=True):
        sure = [box for box in boxes if box[4] * box[5:].max() > 0.5]
        for place, box in enumerate(sure):
            row[place] = [box[5:].argmax(), *box[:4]]
    return rows


def sides(said: Any) -> Any:
    """Groups of neighbours: on which side of the middle, along the widest direction."""
    centred = said - said.mean(0)
    return (centred @ np.linalg.svd(centred, full_matrices=False)[2][0] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Jobs after their baseline, made once for each case."""
    made: dict[Any, tuple[Any, Context]] = {}

    def judge_of(metric: str, task: Any) -> tuple[Any, Context]:
        if (metric, task) not in made:
            made[metric, task] = job_of(tmp_path_factory.mktemp("job"), metric, task)
        return made[metric, task]

    return judge_of


def job_of(folder: Path, metric: str, task: Any) -> tuple[Any, Context]:
    graph = detector() if task == DETECTION else biased(of_task(task))
    x = random(SAMPLES, 16)
    feeds = {"x": x} if metric == EvaluationMetric.AGREEMENT else {"x": x, "labels": labels_of(graph, task, x)}
    onnx.save(graph, folder / "model.onnx")
    np.savez(folder / "data.npz", **feeds)
    evaluation: dict[str, Any] = {"uri": (folder / "data.npz").as_uri(), "metric": metric}
    if task is EvaluationTask.CUSTOM:
        evaluation["function"] = "tests.unit.onnx_graphs.gate.own_measure:score"
    if metric in {EvaluationMetric.AGREEMENT, EvaluationMetric.LABELS}:
        evaluation["task"] = task.value
    calibration = {"uri": (folder / "data.npz").as_uri(), "methods": ["min-max"]}
    gates = {"accuracy": {"maxDrop": 0.05}}
    job = jobs.job(folder / "job", folder / "model.onnx", calibration=calibration, evaluation=evaluation, gates=gates)
    context = run._opened(job, jobs.quiet(), shards=1)
    for _ in range(2):
        stage = next_stage(job.spec, context.work)
        assert stage is not None
        run._run(context, stage, 0)
    return graph, context


def verdict(graph: Any, context: Context, name: str) -> Any:
    """Of the graph as the rung weight-only-int8 makes it."""

    def build() -> Any:
        nodes = qdq.packable_nodes(graph, [])
        return qdq.weight_only(graph, 8, nodes)

    return consider(context, Attempt(name.replace(" ", "-"), Rung.WEIGHT_ONLY_INT8), build)


def last(graph: Any) -> str:
    return "w2" if any(tensor.name == "w2" for tensor in graph.graph.initializer) else "w1"


@pytest.mark.parametrize(("metric", "task"), CASES, ids=str)
@pytest.mark.parametrize("how", RUINED)
def test_a_ruined_candidate_fails(judges: Any, metric: str, task: Any, how: str) -> None:
    graph, context = judges(metric, task)
    layer, change = RUINED[how]
    found = verdict(changed(graph, last(graph) if layer == "last" else layer, change), context, how)
    assert found.accuracy is not None, found.message
    assert "nothing is quantized" not in found.message
    assert not found.passed, found.message


@pytest.mark.parametrize(("metric", "task"), CASES, ids=str)
def test_a_harmless_candidate_passes(judges: Any, metric: str, task: Any) -> None:
    graph, context = judges(metric, task)
    found = verdict(graph, context, "harmless")
    assert found.passed, found.message
