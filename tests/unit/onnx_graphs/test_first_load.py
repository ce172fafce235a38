"""A stranger's model is loaded first where it can do no harm: its crash, its hunger and its loops are words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.onnx_graphs.graphs import SAMPLES, built, classifier, model, quantize, random, value
from tests.unit.quantize import small_processes
from workloads.errors import BadInput
from workloads.quantize.graph import first_load

X = {"x": random(SAMPLES, 16)}


@pytest.fixture(autouse=True)
def _as_users_have_it() -> Iterator[None]:
    with small_processes.interpreters():
        yield


def saved(folder: Path, graph: Any) -> Path:
    path = folder / "model.onnx"
    onnx.save(graph, path)
    return path


def test_a_model_that_loads_is_let_in(tmp_path: Path) -> None:
    first_load.require(saved(tmp_path, classifier()), 10_000)


def test_a_load_without_an_end_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has not loaded the model within"):
        first_load.require(saved(tmp_path, classifier()), 0, seconds=0.01)


def test_a_load_that_takes_all_memory_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"more than \d+ MiB|crashes when it loads"):
        first_load.require(saved(tmp_path, classifier()), 0, memory=64 << 20)


@pytest.mark.parametrize("sign", ["SEGV", "ABRT", "KILL"])
def test_a_process_that_dies_of_a_model_is_words(tmp_path: Path, sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = tmp_path / "python"
    dying.write_text(f"#!/bin/sh\nkill -{sign} $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(first_load.sys, "executable", str(dying))
    with pytest.raises(
        BadInput, match=f"crashes when it loads this model: the process that tried was ended by SIG{sign}"
    ):
        first_load.require(saved(tmp_path, classifier()), 0)


def test_a_layer_normalisation_with_an_empty_bias_is_loaded(tmp_path: Path) -> None:
    """ONNX Runtime 1.31.1 ends the process that loads it: the job died without a word, and was tried again."""
    graph = classifier()
    graph.graph.initializer.append(numpy_helper.from_array(random(32, seed=3), "scale"))
    graph.graph.node[1].CopyFrom(helper.make_node("LayerNormalization", ["h", "scale", ""], ["r"], "norm", axis=-1))
    assert len(built(quantize(tmp_path, graph, X, ["static-per-tensor", "weight-only-int8"]))) == 2


def test_nodes_of_one_name_are_no_reason_to_refuse(tmp_path: Path) -> None:
    graph = classifier()
    graph.graph.node[0].name = graph.graph.node[2].name = "same"
    assert len(built(quantize(tmp_path, graph, X, ["static-per-tensor", "weight-only-int8"]))) == 2


def test_a_constant_that_is_an_output_and_an_output_without_a_shape(tmp_path: Path) -> None:
    graph = classifier()
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    graph.graph.output.append(value("w1", [16, 32]))
    assert len(built(quantize(tmp_path, graph, X, ["static-per-tensor", "weight-only-int8"]))) == 2


@pytest.mark.parametrize("place", ["input", "output"])
def test_ports_of_bfloat16_are_refused_in_words(tmp_path: Path, place: str) -> None:
    """As .npz gives them, they are two bytes of nothing (|V2); and the runtime takes none."""
    narrow, wide = TensorProto.BFLOAT16, TensorProto.FLOAT
    kinds = (narrow, wide) if place == "input" else (wide, narrow)
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], "first", to=wide),
        helper.make_node("MatMul", ["a", "w"], ["h"], "product"),
        helper.make_node("Cast", ["h"], ["y"], "last", to=kinds[1]),
    ]
    graph = model(nodes, [value("x", ["n", 16], kinds[0])], [value("y", ["n", 4], kinds[1])], {"w": random(16, 4)})
    with pytest.raises(BadInput, match="is bfloat16, which numpy does not have"):
        quantize(tmp_path, graph, X, ["dynamic"])


@pytest.mark.parametrize("form", ["If", "Scan"])
def test_weights_in_another_file_that_a_body_reads(tmp_path: Path, form: str) -> None:
    """From a path, ONNX Runtime looks for them in the body's own place, which is none."""
    make, body = helper.make_node, helper.make_graph
    if form == "If":
        bodies = {
            name: body([make("MatMul", ["x", "w"], [name]), make(op, [name], [f"{name}o"])], name, [], [out])
            for name, op, out in (("t", "Relu", value("to", None)), ("e", "Neg", value("eo", None)))
        }
        node = make("If", ["c"], ["h"], "if", then_branch=bodies["t"], else_branch=bodies["e"])
    else:
        row, out = value("row", [16]), value("so", [4])
        inner = body([make("MatMul", ["row", "w"], ["so"])], "scan", [row], [out])
        node = make("Scan", ["x"], ["h"], "scan", body=inner, num_scan_inputs=1)
    weights = {"w": random(16, 4, seed=1), "w2": random(4, 4, seed=2), "c": np.array(True)}
    nodes = [node, make("MatMul", ["h", "w2"], ["y"], "last")]
    graph = model(nodes, [value("x", ["n", 16])], [value("y", None)], weights)
    onnx.save(graph, tmp_path / "split.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    split = onnx.load(tmp_path / "split.onnx", load_external_data=False)
    (tmp_path / "job").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "job" / "w.bin")
    found = quantize(tmp_path / "job", split, X, ["static-per-tensor"])
    assert len(built(found)) == 1


def test_a_constant_of_16_bits_that_is_an_output_is_widened(tmp_path: Path) -> None:
    """Its name was defined twice in the widened graph, and no preparation was the same function: StopIteration."""
    half = TensorProto.FLOAT16
    graph = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        [value("x", ["n", 16], half)],
        [value("y", ["n", 4], half), value("w", [16, 4], half)],
        {"w": random(16, 4).astype(np.float16)},
    )
    judged = {"uri": (tmp_path / "data.npz").as_uri(), "metric": "agreement", "outputs": ["y"]}
    found = quantize(tmp_path, graph, {"x": X["x"].astype(np.float16)}, ["static-per-tensor"], evaluation=judged)
    assert len(built(found)) == 1
