"""Artifact of a bare ONNX model: names as exporters write them, its task, and refusals in the first minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit.onnx_graphs.graphs import SAMPLES, classifier, model, quantize, random, value
from workloads import artifact
from workloads.errors import BadInput
from workloads.quantize.signature import signature_of

CLASSES = str({str(number): f"{number}_minute_timer" for number in range(1, 8)}).replace("'", '"')


def renamed(name: str) -> Any:
    graph = classifier()
    graph.graph.node[-1].output[0] = graph.graph.output[0].name = name
    return graph


def published(folder: Path) -> Any:
    return artifact.read(f"file://{folder / 'job' / 'out'}").description


def test_a_table_of_classes_as_an_outputs_name_is_published(tmp_path: Path) -> None:
    """Its 170 characters ended the job after all work was done."""
    graph = renamed(CLASSES)
    quantize(tmp_path, graph, {"x": random(SAMPLES, 16)}, ["dynamic"], gates={"accuracy": {"maxDrop": 0.5}})
    assert len(CLASSES) > 128
    assert published(tmp_path).signature.outputs[0].name == CLASSES


def test_a_name_that_no_artifact_takes_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot describe 'aaa.*at most 1024"):
        quantize(tmp_path, renamed("a" * 1025), {"x": random(SAMPLES, 16)}, ["dynamic"])
    assert not list((tmp_path / "job").rglob("candidates"))


def test_a_type_that_no_artifact_has_is_refused_in_words() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    ports = [[value(name, ["n", 2], TensorProto.COMPLEX64)] for name in "xy"]
    with pytest.raises(BadInput, match=r"x is complex64, .*: export the model with an axis more of length 2"):
        signature_of(model([node], *ports, {}))


def test_free_axes_keep_their_exporters_names() -> None:
    """All of them were called axis1."""
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = value("x", ["batch_size", "Time Steps", "unk__617", 3]), value("y", ["N", None, "2nd", 3])
    found = signature_of(model([node], [x], [y], {}))
    assert found.inputs[0].shape == ["batch_size", "time_steps", "axis2", 3]
    assert found.outputs[0].shape == ["n", "axis1", "axis_2nd", 3]


def test_a_sequence_of_maps_is_refused_with_how_to_export_without() -> None:
    """As skl2onnx writes the probabilities of every classifier by default."""
    node = helper.make_node("ZipMap", ["x"], ["z"], "zip", domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    graph = model([node], [value("x", ["n", 2])], [], {}, domains=["ai.onnx.ml"])
    of = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph.graph.output.append(helper.make_value_info("z", helper.make_sequence_type_proto(of)))
    with pytest.raises(BadInput, match=r"z is no tensor but a sequence, .*options=\{'zipmap': False\}"):
        signature_of(graph)


@pytest.mark.parametrize(
    ("width", "task", "expected"),
    [(16, "classification", "raw"), (16, "embedding", "embedding"), (None, "classification", "image-classification")],
)
def test_the_task_is_that_of_the_answers_and_not_always_pictures(
    tmp_path: Path, width: int | None, task: str, expected: str
) -> None:
    graph, x = classifier(), random(SAMPLES, 16)
    if width is None:
        graph.graph.input[0].CopyFrom(value("pictures", ["n", 1, 4, 4]))
        graph.graph.node.insert(0, helper.make_node("Flatten", ["pictures"], ["x"], "flat"))
    feeds = {"x": x} if width else {"pictures": np.reshape(x, (SAMPLES, 1, 4, 4))}
    where = {"uri": (tmp_path / "data.npz").as_uri(), "metric": "agreement", "task": task}
    quantize(tmp_path, graph, feeds, ["dynamic"], evaluation=where)
    assert published(tmp_path).task == expected
