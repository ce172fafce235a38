"""Texts of many lengths in one request: padding never changes an answer, and vectors and pairs come the same way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import pytest

from slipway.api.common import artifact as api
from tests.conformance.server import Server
from tests.unit.serve import onnx_models
from workloads import storage

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
TEXTS = ["a", "b c d", " ".join("qwertyuiopasdfghjklzxcvbnm"), "z z z z z z z z z", "b c d", "c"]


def tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.save(str(path))


def described(folder: Path, task: api.Task, outputs: list[api.TensorSpec], **text: object) -> Path:
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [api.TensorSpec(name=name, dtype=api.DType.INT64, shape=["batch", "sequence"]) for name in names]
    processing = api.TextProcessing(max_tokens=24, mask=names[1], types=names[2], **text)  # type: ignore[arg-type]
    description = api.Artifact(
        task=task,
        architecture=api.Architecture(name="onnx", arguments={}),
        signature=api.Signature(inputs=inputs, outputs=outputs),
        text=processing,
        parameters=0,
        lineage=api.Lineage(job=api.JobReference(kind="TrainingJob", name="test")),
        created="2026-01-01T00:00:00Z",
        files=storage.digests_of(folder),
    )
    (folder / api.DESCRIPTION_FILE).write_text(json.dumps(description.wire()))
    return folder


HIDDEN = api.TensorSpec(name="last_hidden_state", dtype=api.DType.FLOAT32, shape=["batch", "sequence", 4])
SCORE = api.TensorSpec(name="score", dtype=api.DType.FLOAT32, shape=["batch", 1])


def served(folder: Path, task: api.Task, outputs: list[api.TensorSpec], masked: bool = True, **text: object) -> Server:
    folder.mkdir()
    onnx_models.encoder(folder / "model.onnx", len(WORDS), masked=masked)
    tokenizer(folder / "tokenizer.json")
    described(folder, task, outputs, **text)
    log = folder.with_suffix(".log")
    return Server(
        log, "--model", str(folder), "--threads", "1", "--max-batch-size", "4", "--engine", "onnxruntime"
    ).wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("padded")


@pytest.fixture(scope="module", params=[True, False], ids=["masked", "deaf to its mask"])
def embedder(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Server, Path]]:
    name = "masked" if request.param else "deaf"
    server = served(folder / name, api.Task.EMBEDDING, [HIDDEN], request.param, pooling="mean", normalise=True)
    yield server, folder / name
    assert server.stop() == 0


def reference(folder: Path, text: str, pair: str | None = None) -> dict[str, np.ndarray]:
    """By ONNX Runtime alone, one text at a time and without any padding."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.enable_truncation(24)
    found = made.encode(text, pair)
    values = (found.ids, [1] * len(found.ids), found.type_ids)
    feeds = {
        name: np.array([value], np.int64)
        for name, value in zip(("input_ids", "attention_mask", "token_type_ids"), values, strict=True)
    }
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    return dict(zip(("last_hidden_state", "score"), session.run(None, feeds), strict=True))


def vector(folder: Path, text: str) -> np.ndarray:
    mean = reference(folder, text)["last_hidden_state"][0].mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_padding_never_changes_a_vector(embedder: tuple[Server, Path]) -> None:
    """Of a model that is deaf to its mask neither: its texts are put together by length alone."""
    server, folder = embedder
    answer = server.ask("POST", "/predict", orjson.dumps({"texts": TEXTS}), {"Content-Type": "application/json"})
    assert answer.status == 200, answer.body
    said = answer.json["predictions"]
    for text, one in zip(TEXTS, said, strict=True):
        np.testing.assert_allclose(one["embedding"], vector(folder, text), rtol=1e-4, atol=1e-6)
    assert [one["truncated"] for one in said] == [False, False, True, False, False, False]
    assert ("computed apart" in server.log.read_text()) == (folder.name == "deaf")


def test_vectors_over_the_protocol_keep_their_order(embedder: tuple[Server, Path]) -> None:
    server, folder = embedder
    given = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    answer = server.infer({"inputs": [given]})
    (output,) = answer.json["outputs"]
    assert output["shape"] == [len(TEXTS), 4]
    found = np.reshape(output["data"], (len(TEXTS), 4))
    np.testing.assert_allclose(found, [vector(folder, text) for text in TEXTS], rtol=1e-4, atol=1e-6)
    assert answer.headers["slipway-truncated-texts"] == "2"


def test_a_reranker_scores_pairs(folder: Path) -> None:
    server = served(folder / "pairs", api.Task.TEXT_CLASSIFICATION, [SCORE])
    try:
        want = [float(reference(folder / "pairs", "a b", text)["score"][0, 0]) for text in TEXTS]
        documents = {"query": "a b", "texts": TEXTS}, {"texts": [["a b", text] for text in TEXTS]}
        for document in documents:
            answer = server.ask("POST", "/predict", orjson.dumps(document), {"Content-Type": "application/json"})
            said = answer.json["predictions"]
            np.testing.assert_allclose([one["logit"] for one in said], want, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose([one["score"] for one in said], 1 / (1 + np.exp(-np.array(want))), rtol=1e-4)
        shape = {"datatype": "BYTES", "shape": [2, 1]}
        pair = [{"name": "text", "data": ["a b"] * 2, **shape}, {"name": "text_pair", "data": TEXTS[:2], **shape}]
        found = server.infer({"inputs": pair}).json["outputs"][0]["data"]
        np.testing.assert_allclose(found, want[:2], rtol=1e-4, atol=1e-5)
        half = server.infer({"inputs": pair[:1]})
        assert half.status == 200, "one text alone is a row as well"
    finally:
        assert server.stop() == 0


def test_token_level_results_of_different_lengths_are_refused_in_words(folder: Path) -> None:
    server = served(folder / "tokens", api.Task.RAW, [HIDDEN])
    try:
        for texts, status in ((["a b c"], 200), (["a b", "c d"], 200), (["a", "a b"], 400)):
            given = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
            answer = server.infer({"inputs": [given]})
            assert answer.status == status, answer.body
            if status == 200:
                assert answer.json["outputs"][0]["shape"] == [len(texts), 2 + len(texts[0].split()), 4]
            else:
                assert "as long as its text" in answer.json["error"]
    finally:
        assert server.stop() == 0


def test_an_artifact_whose_inputs_are_not_named_is_refused_when_it_loads(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="name each input"):
        served(folder / "unnamed", api.Task.RAW, [HIDDEN], tokens="ids")
