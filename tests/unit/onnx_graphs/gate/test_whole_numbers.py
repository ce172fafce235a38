"""Models that decide in their graph: class numbers, truth values and masks are judged by what they say, not refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from slipway.api.quantization.evaluation import Evaluation, EvaluationTask
from tests.unit.onnx_graphs.graphs import SAMPLES, model, quantize, random, value
from workloads.quantize.evaluation.judged import judged

WEIGHTS = {"w": random(16, 12, seed=1), "zero": np.zeros((), np.float32), "shape": np.array([-1, 3, 4], np.int64)}
SCORES = helper.make_node("MatMul", ["x", "w"], ["s"], "scores")
MASKS = [SCORES, helper.make_node("Reshape", ["s", "shape"], ["r"]), helper.make_node("Greater", ["r", "zero"], ["y"])]
CLASS = [SCORES, helper.make_node("ArgMax", ["s"], ["y"], "choice", axis=1, keepdims=0)]
YES = [SCORES, helper.make_node("Greater", ["s", "zero"], ["y"], "above")]


def graph(nodes: list[Any], shape: list[Any], kind: int, *more: Any) -> Any:
    return model(nodes, [value("x", ["n", 16])], [value("y", shape, kind), *more], WEIGHTS)


@pytest.mark.parametrize(
    ("made", "task", "places"),
    [
        (graph(CLASS, ["n"], TensorProto.INT64), EvaluationTask.TAGGING, (0,)),
        (graph(YES, ["n", 12], TensorProto.BOOL), EvaluationTask.TAGGING, (0,)),
        (graph(MASKS, ["n", 3, 4], TensorProto.BOOL), EvaluationTask.SEGMENTATION, (0,)),
        (graph(CLASS, ["n"], TensorProto.INT64, value("s", ["n", 12])), EvaluationTask.CLOSENESS, (1,)),
    ],
    ids=["a class", "answers of yes and no", "a mask", "a class beside its scores"],
)
def test_the_graph_tells_that_it_decides(made: Any, task: EvaluationTask, places: tuple[int, ...]) -> None:
    choice = Evaluation.model_validate({"uri": "file:///d.npz", "metric": "agreement"})
    found = judged(made, choice, None)
    assert (found.task, found.places) == (task, places)


@pytest.mark.parametrize("nodes", [CLASS, YES], ids=["a class", "answers of yes and no"])
def test_a_good_candidate_passes_and_a_coarse_one_is_seen(tmp_path: Path, nodes: list[Any]) -> None:
    made = graph(
        nodes, ["n"] if nodes is CLASS else ["n", 12], TensorProto.INT64 if nodes is CLASS else TensorProto.BOOL
    )
    feeds, gates = {"x": random(4 * SAMPLES, 16)}, {"accuracy": {"maxDrop": 0.04}}
    rows = {}
    for bits, rung in ((8, "static-per-channel"), (2, "static-per-tensor")):
        found = quantize(tmp_path / str(bits), made, feeds, [rung], gates=gates, weights={"bits": bits})
        rows[bits] = found.comparison[1]
    assert rows[8].passed
    assert (rows[8].accuracy or 0) > 0.95
    assert not rows[2].passed
    assert (rows[2].accuracy or 1) < 0.95
