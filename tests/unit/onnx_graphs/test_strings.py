"""Texts at a model's ports are kept out of the way of quantization, and other types that no array has are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.api.common.artifact import DType
from slipway.api.quantization.status import Outcome
from tests.unit.onnx_graphs.graphs import classifier, model, quantize, random, value
from workloads import artifact
from workloads.errors import BadInput
from workloads.onnx import session

WORDS = ("good", "bad", "fine", "poor", "day", "night", "sun", "rain")
PASSING: dict[str, Any] = {"gates": {"accuracy": {"maxDrop": 0.5}}, "optimizeFor": "size"}


def names_of_classes(*, scores: bool) -> Any:
    """A classifier that says the name of its class first, as scikit-learn's do, and the scores after it or not."""
    graph = classifier()
    names = numpy_helper.from_array(np.array(["ant", "bee", "cow", "dog"], dtype=object), "names")
    graph.graph.initializer.append(names)
    graph.graph.node.extend(
        [
            helper.make_node("ArgMax", ["y"], ["class"], "class", axis=1, keepdims=0),
            helper.make_node("Gather", ["names", "class"], ["label"], "label"),
        ]
    )
    outputs = [value("label", ["n"], TensorProto.STRING), *([graph.graph.output[0]] if scores else [])]
    del graph.graph.output[:]
    graph.graph.output.extend(outputs)
    return graph


def bag_of_words() -> Any:
    """Three words of a sample are counted (TfIdfVectorizer) and go through two products."""
    count = helper.make_node(
        "TfIdfVectorizer",
        ["x"],
        ["h"],
        "words",
        max_gram_length=1,
        min_gram_length=1,
        max_skip_count=0,
        mode="TF",
        ngram_counts=[0],
        ngram_indexes=list(range(len(WORDS))),
        pool_strings=list(WORDS),
    )
    nodes = [
        count,
        helper.make_node("MatMul", ["h", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    weights = {"w1": random(len(WORDS), 64, seed=1), "w2": random(64, 4, seed=2)}
    return model(nodes, [value("x", ["n", 3], TensorProto.STRING)], [value("y", ["n", 4])], weights)


def texts(count: int = 48) -> Any:
    return np.array(WORDS)[np.random.default_rng(3).integers(0, len(WORDS), (count, 3))]


def test_a_name_that_a_model_gives_beside_its_scores_is_kept(tmp_path: Path) -> None:
    feeds = random(48, 16)
    found = quantize(tmp_path, names_of_classes(scores=True), {"x": feeds}, ["weight-only-int8"], **PASSING)
    assert found.outcome is Outcome.QUANTIZED
    stored = artifact.read((tmp_path / "job/out").as_uri())
    assert [port.dtype for port in stored.description.signature.outputs] == [DType.STRING, DType.FLOAT32]
    said = session.session(onnx.load(stored.folder / "model.onnx")).run(["label"], {"x": feeds})[0]
    assert set(said) <= {"ant", "bee", "cow", "dog"}


def test_a_name_alone_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="label holds strings, whose error nobody can measure: give the scores"):
        quantize(tmp_path, names_of_classes(scores=False), {"x": random(48, 16)}, ["dynamic"])


def test_a_name_that_is_asked_to_be_judged_is_refused_in_words(tmp_path: Path) -> None:
    evaluation = {"uri": (tmp_path / "data.npz").as_uri(), "metric": "agreement", "outputs": ["label"]}
    with pytest.raises(BadInput, match="label holds strings"):
        quantize(tmp_path, names_of_classes(scores=True), {"x": random(48, 16)}, ["dynamic"], evaluation=evaluation)


@pytest.mark.parametrize("ladder", [["static-per-channel", "weight-only-int8"]])
def test_texts_are_read_and_what_they_are_counted_into_is_quantized(tmp_path: Path, ladder: list[str]) -> None:
    found = quantize(tmp_path, bag_of_words(), {"x": texts()}, ladder, **PASSING)
    assert found.outcome is Outcome.QUANTIZED, found.comparison
    assert {row.rung for row in found.comparison if row.passed} >= set(ladder)
    stored = artifact.read((tmp_path / "job/out").as_uri())
    assert stored.description.signature.inputs[0].dtype is DType.STRING


def test_texts_as_python_objects_say_how_to_save_them(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"save texts by numpy.array\(texts, dtype=str\)"):
        quantize(tmp_path, bag_of_words(), {"x": texts().astype(object)}, ["dynamic"])


def test_numbers_for_texts_are_refused_by_both_types(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="x is float32, the model takes string"):
        quantize(tmp_path, bag_of_words(), {"x": random(48, 3)}, ["dynamic"])


def converted(kind: int, *, inwards: bool) -> Any:
    """The classifier with an input or output of another type."""
    graph = classifier()
    old, new = ("x", "q") if inwards else ("y", "q")
    for node in graph.graph.node:
        node.input[:] = ["f" if name == "x" and inwards else name for name in node.input]
    cast = (
        helper.make_node("Cast", ["q"], ["f"], "cast", to=TensorProto.FLOAT)
        if inwards
        else helper.make_node("Cast", ["y"], ["q"], "cast", to=kind)
    )
    graph.graph.node.insert(0 if inwards else len(graph.graph.node), cast)
    ports = graph.graph.input if inwards else graph.graph.output
    assert ports[0].name == old
    ports[0].CopyFrom(value(new, ["n", 16 if inwards else 4], kind))
    graph.opset_import[0].version, graph.ir_version = 21, 10
    return graph


@pytest.mark.parametrize("inwards", [True, False], ids=["in", "out"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TensorProto.BFLOAT16, "q is bfloat16, which numpy does not have"),
        (TensorProto.FLOAT8E4M3FN, "q is float8_e4m3fn, which numpy does not have"),
        (TensorProto.INT4, "q is int4, which numpy does not have"),
        (TensorProto.COMPLEX64, "q is complex64, .*: export the model with an axis more of length 2"),
        (99, "q is of type 99, which onnx .* does not know"),
    ],
)
def test_a_type_that_no_array_has_is_refused_by_the_ports_name(
    tmp_path: Path, kind: int, words: str, inwards: bool
) -> None:
    graph = converted(kind, inwards=inwards)
    with pytest.raises(BadInput, match=words):
        quantize(tmp_path, graph, {"q" if inwards else "x": random(48, 16)}, ["dynamic"])


def test_a_locale_that_the_image_has_not_says_what_to_do() -> None:
    attributes = {"case_change_action": "LOWER", "locale": "xx_YY.none"}
    node = helper.make_node("StringNormalizer", ["x"], ["y"], "lower", **attributes)
    ports = [value(name, ["n"], TensorProto.STRING) for name in ("x", "y")]
    with pytest.raises(BadInput, match=r"xx_YY.none.*set attribute `locale` of its StringNormalizer to C.UTF-8"):
        session.session(model([node], ports[:1], ports[1:], {}))


@pytest.mark.parametrize("form", ["sequence", "optional"])
def test_a_port_that_is_no_tensor_is_refused_in_words(tmp_path: Path, form: str) -> None:
    graph = classifier()
    node, port = {
        "sequence": (
            helper.make_node("SplitToSequence", ["y"], ["q"], "split", axis=1),
            helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None),
        ),
        "optional": (
            helper.make_node("Optional", ["y"], ["q"], "optional"),
            helper.make_value_info("q", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None))),
        ),
    }[form]
    graph.graph.node.append(node)
    graph.graph.output.append(port)
    with pytest.raises(BadInput, match="q is no tensor but a sequence, a map or an optional value"):
        quantize(tmp_path, graph, {"x": random(48, 16)}, ["dynamic"])
