"""Texts in, labels out: trained by a recipe, exported, served by both engines, without a cluster."""

from __future__ import annotations

import gzip
import json
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest

from tests.conformance.server import Server
from tests.unit.train import processes
from workloads import artifact
from workloads.serve.protocol import open_inference_pb2 as pb

WORDS = {"good": ["fine", "great", "lovely", "superb"], "bad": ["awful", "poor", "dreadful", "broken"]}
LENGTH = 8
TEXTS = [
    "what a lovely superb day",
    "awful and broken",
    "great",
    "dreadful poor poor poor poor poor poor poor poor poor",
]


def rows() -> list[dict[str, str]]:
    random = np.random.default_rng(0)
    filler = ["a", "the", "day", "was", "and", "what"]
    found = []
    for label, words in WORDS.items():
        for _ in range(60):
            chosen = [str(word) for word in (*random.choice(filler, 3), *random.choice(words, 2))]
            random.shuffle(chosen)
            found.append({"text": " ".join(chosen), "label": label})
    return found


def tokenizer(path: Path) -> None:
    """Words as tokens, with a padding and a truncation of its own that must not matter."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    known = ["[PAD]", "[UNK]", *sorted({word for row in rows() for word in row["text"].split()})]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.enable_padding(length=20, pad_id=1)
    made.enable_truncation(3)
    made.save(str(path))


def command(folder: Path, *arguments: str) -> str:
    processes.prepare("transformers.models.bert.modeling_bert")
    done = processes.done([*arguments], folder / "logs")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a trained artifact, and the same one with model.onnx beside its weights."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("texts")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    tokenizer(folder / "tokenizer.json")
    recipe = {
        "model": {"name": "text-classifier", "layers": 1, "hiddenSize": 16, "heads": 2},
        "dataset": {
            "name": "text-table",
            "uri": (folder / "rows.jsonl").as_uri(),
            "tokenizer": (folder / "tokenizer.json").as_uri(),
            "sequenceLength": LENGTH,
        },
        "globalBatchSize": 16,
        "epochs": 10,
        "optimizer": {"name": "adamw", "learningRate": 0.01},
    }
    spec = {"numProcPerNode": 1, "recipe": recipe, "output": {"uri": (folder / "trained").as_uri()}}
    job = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "t"}, "spec": spec}
    (folder / "job.json").write_text(json.dumps(job))
    command(folder, "train", "--config", str(folder / "job.json"))
    command(folder, "export", "--model", str(folder / "trained"), "--output", str(folder / "exported"))
    return folder


@pytest.fixture(scope="module", params=["torch", "onnxruntime"])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    where = folder / ("trained" if request.param == "torch" else "exported")
    log = folder / f"{request.param}.log"
    found = Server(
        log, "--model", str(where), "--engine", request.param, "--threads", "1", "--max-batch-size", "4"
    ).wait()
    yield found
    assert found.stop() == 0


def predict(server: Server, document: Any, **headers: str) -> Any:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return server.ask("POST", "/predict", body, given)


def test_the_labels_are_right_and_what_was_cut_off_is_told(server: Server) -> None:
    answer = predict(server, {"texts": TEXTS})
    assert answer.status == 200, answer.body
    said = answer.json["predictions"]
    assert [one["label"] for one in said] == ["good", "bad", "good", "bad"]
    assert [(one["tokens"], one["truncated"]) for one in said] == [(5, False), (3, False), (1, False), (8, True)]
    alone = [predict(server, {"text": text}).json["predictions"][0]["probability"] for text in TEXTS]
    np.testing.assert_allclose([one["probability"] for one in said], alone, rtol=1e-5)


def test_every_way_in_gives_the_same(server: Server) -> None:
    want = predict(server, {"texts": TEXTS[:1]}).json["predictions"][0]["probability"]
    plain = predict(server, TEXTS[0].encode(), Content_Type="text/plain; charset=utf-8")
    form = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + TEXTS[0].encode() + b"\r\n--b--\r\n"
    multipart = predict(server, form, Content_Type="multipart/form-data; boundary=b")
    packed = predict(server, gzip.compress(orjson.dumps({"texts": TEXTS[:1]})), Content_Encoding="gzip")
    for answer in (plain, multipart, packed):
        assert answer.json["predictions"][0]["probability"] == pytest.approx(want, rel=1e-5)
    logits = []
    for shape in ([1], [1, 1]):
        given = {"name": "text", "datatype": "BYTES", "shape": shape, "data": [TEXTS[0]]}
        answer = server.ask("POST", f"/v2/models/{server.name}/infer", orjson.dumps({"inputs": [given]}))
        assert answer.status == 200, answer.body
        logits.append(answer.json["outputs"][0]["data"])
    body = gzip.compress(orjson.dumps({"inputs": [given]}))
    answer = server.ask("POST", f"/v2/models/{server.name}/infer", body, {"Content-Encoding": "gzip"})
    logits.append(answer.json["outputs"][0]["data"])
    raw = TEXTS[0].encode()
    head = orjson.dumps({"inputs": [{**given, "shape": [1], "parameters": {"binary_data_size": len(raw) + 4}}]})
    head = head.replace(b',"data":["' + raw + b'"]', b"")
    headers = {"Inference-Header-Content-Length": str(len(head))}
    binary = server.ask("POST", f"/v2/models/{server.name}/infer", head + struct.pack("<I", len(raw)) + raw, headers)
    assert binary.status == 200, binary.body
    logits.append(binary.json["outputs"][0]["data"])
    logits.append(over_grpc(server, TEXTS[0]))
    for one in logits:
        exact = np.exp(np.asarray(one) - np.max(one))
        assert exact.max() / exact.sum() == pytest.approx(want, rel=1e-4)


def over_grpc(server: Server, text: str) -> list[float]:
    tensor = pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text.encode())
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        method = "/inference.GRPCInferenceService/ModelInfer"
        call = channel.unary_unary(method, lambda m: m.SerializeToString(), pb.ModelInferResponse.FromString)
        found = call(pb.ModelInferRequest(model_name=server.name, inputs=[tensor]), timeout=20)
    return np.frombuffer(found.raw_output_contents[0], "<f4").tolist()


def test_what_was_cut_off_is_told_over_grpc_as_over_rest(server: Server) -> None:
    inputs = [pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[len(TEXTS)])]
    inputs[0].contents.bytes_contents.extend(text.encode() for text in TEXTS)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        method = "/inference.GRPCInferenceService/ModelInfer"
        ask = channel.unary_unary(method, lambda m: m.SerializeToString(), pb.ModelInferResponse.FromString)
        _, call = ask.with_call(pb.ModelInferRequest(model_name=server.name, inputs=inputs), timeout=20)
    assert dict(call.trailing_metadata())["slipway-truncated-texts"] == "3"


def test_tokens_are_taken_as_before(server: Server) -> None:
    given = {"name": "tokens", "datatype": "INT64", "shape": [1, LENGTH], "data": [1] * LENGTH}
    answer = server.ask("POST", f"/v2/models/{server.name}/infer", orjson.dumps({"inputs": [given]}))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"texts": []}, 400, "there is no text"),
        ({"texts": ["fine", ""]}, 400, "text 2 is empty"),
        ({"texts": [" \n\t\u2003"]}, 400, "text 1 is empty"),
        ({"texts": "fine"}, 400, "texts are strings"),
        ({"texts": ["fine", 3]}, 400, "texts are strings"),
        ({"texts": ["fine", None]}, 400, "texts are strings"),
        ({"texts": [["fine"]]}, 400, "texts are strings"),
        ({"texts": [["a", "b", "c"]]}, 400, "texts are strings"),
        ({"texts": ["fine"], "text": "fine"}, 400, "texts are strings"),
        ({"texts": ["fine"], "top_k": 3}, 400, "'top_k' beside texts"),
        ({"query": 3, "texts": ["fine"]}, 400, "a query is one string"),
        ({"texts": ["a"] * 1025}, 400, "fit into one request"),
        ({"texts": ["a" * (11 << 20)]}, 413, "characters of text"),
    ],
)
def test_what_is_no_text_is_refused_in_words(server: Server, document: Any, status: int, words: str) -> None:
    answer = predict(server, document)
    assert (answer.status, words in answer.json["error"]) == (status, True), answer.body


@pytest.mark.parametrize(
    "text", ["\x00", "\ufeff", "e\u0301" * 50, "\U0001f468\u200d\U0001f469", "a" * 100_000, "\u202e" * 9]
)
def test_any_text_is_answered(server: Server, text: str) -> None:
    assert predict(server, {"texts": [text, "great"]}).json["predictions"][1]["label"] == "good"


def test_bytes_that_are_no_text_are_refused(server: Server) -> None:
    answer = predict(server, b"\xff\xfe", Content_Type="text/plain")
    assert (answer.status, "text 1 is not UTF-8" in answer.json["error"]) == (400, True)
    assert predict(server, b"x", Content_Type="text/plain; charset=latin-1").status == 415
    assert predict(server, b'{"texts": ["\\ud800"]}').status == 400


def test_it_says_that_it_takes_texts(server: Server) -> None:
    said = server.ask("GET", "/predict").json
    assert (said["texts"], said["pictures"], said["task"]) == (True, False, "text-classification")
    properties = server.ask("GET", f"/v2/models/{server.name}").json["properties"]
    assert properties["text_input"].startswith("text BYTES [-1]")
    assert properties["text_max_tokens"] == str(LENGTH)


def test_a_long_text_holds_nobody_else_up(server: Server) -> None:
    """A megabyte of words takes a thread a second; a health check beside it must not notice."""
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(predict, server, {"texts": ["great day " * 100_000]})
        waits = []
        while not long.done():
            started = time.monotonic()
            assert server.ask("GET", "/v2/health/live").status == 200
            waits.append(time.monotonic() - started)
        assert long.result().json["predictions"][0]["label"] == "good"
    # The median, and a share of what the text takes here: neighbours slow both.
    assert np.median(waits) < max(0.1, 0.2 * sum(waits))


def test_the_artifact_says_how_texts_become_tokens(folder: Path) -> None:
    described = artifact.read(folder / "exported").description
    assert described.text is not None
    assert described.text.tokenizer == "tokenizer.json"
    assert (described.text.max_tokens, described.text.special_tokens, described.text.tokens) == (
        LENGTH,
        False,
        "tokens",
    )
    assert {file.path for file in described.files} >= {"tokenizer.json", "model.onnx", "model.safetensors"}


def test_what_is_read_in_another_process_is_the_same(server: Server) -> None:
    """Texts of more than a megabyte were parsed on the event loop, over gRPC, REST and in forms."""
    long = ["lovely" + " " * 500_000, "poor" + " " * 500_000]
    answers = [predict(server, {"texts": long}), predict(server, {"query": long[0], "texts": long[1:]})]
    field = b'--b\r\nContent-Disposition: form-data; name="texts"\r\n\r\n%b\r\n'
    fields = b"".join(field % one.encode() for one in long)
    answers.append(predict(server, fields + b"--b--\r\n", Content_Type="multipart/form-data; boundary=b"))
    assert [answers[0].status, answers[2].status] == [200, 200], answers
    for answer in (answers[0], answers[2]):
        assert [one["label"] for one in answer.json["predictions"]] == ["good", "bad"]
    assert answers[1].status == 200, answers[1].body
    logits = [predict(server, {"texts": [one.strip()]}).json["predictions"][0]["probability"] for one in long]
    found = [one["probability"] for one in answers[0].json["predictions"]]
    np.testing.assert_allclose(found, logits, rtol=1e-5)
    given = {"name": "text", "datatype": "BYTES", "shape": [2]}
    raw = b"".join(struct.pack("<I", len(one)) + one.encode() for one in long)
    bodies = [(orjson.dumps({"inputs": [{**given, "data": long}]}), {})]
    bodies.append((gzip.compress(bodies[0][0], 1), {"Content-Encoding": "gzip"}))
    head = orjson.dumps({"inputs": [{**given, "parameters": {"binary_data_size": len(raw)}}]})
    bodies.append((head + raw, {"Inference-Header-Content-Length": str(len(head))}))
    outputs = []
    for body, headers in bodies:
        answer = server.ask("POST", f"/v2/models/{server.name}/infer", body, headers)
        assert answer.status == 200, answer.body
        outputs.append(answer.json["outputs"][0]["data"])
    for output in [*outputs[1:], *long_over_grpc(server, given, long, raw)]:
        np.testing.assert_allclose(output, outputs[0], rtol=1e-4)


def long_over_grpc(server: Server, given: dict[str, Any], long: list[str], raw: bytes) -> list[Any]:
    """Answers to texts as raw bytes and as typed contents, of which too many are refused in words."""
    outputs = []
    tensor = pb.ModelInferRequest.InferInputTensor(**given)
    messages = [pb.ModelInferRequest(model_name=server.name, inputs=[tensor], raw_input_contents=[raw])]
    messages.append(pb.ModelInferRequest(model_name=server.name, inputs=[tensor]))
    messages[1].inputs[0].contents.bytes_contents.extend(one.encode() for one in long)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for message in messages:
            answer = pb.ModelInferResponse.FromString(call(message.SerializeToString(), timeout=60))
            outputs.append(np.frombuffer(answer.raw_output_contents[0], "<f4"))
        messages[1].inputs[0].contents.bytes_contents[0] = b"a" * (5 << 20)
        with pytest.raises(grpc.RpcError) as error:
            call(messages[1].SerializeToString(), timeout=60)
        assert "characters of text" in error.value.details()
    return outputs
