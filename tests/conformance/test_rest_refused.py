"""Open Inference Protocol v2 over REST: what must be refused, and how.

Every client error is a 4xx with `{"error": string}`; after each the server must still be live.
"""

from __future__ import annotations

import gzip

import numpy as np
import orjson
import pytest

from tests.conformance.requests import INPUT, OTHER, given

F = {"datatype": "FP32", "shape": [1, 2]}
BAD_REQUESTS = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"inputs": "\xff"}',
    "not an object": [1],
    "null": b"null",
    "no inputs": {},
    "inputs null": {"inputs": None},
    "inputs an object": {"inputs": {}},
    "inputs empty": {"inputs": []},
    "input not an object": {"inputs": [1]},
    "no name": {"inputs": [{**F, "data": [1, 2]}]},
    "name a number": {"inputs": [{**F, "name": 1, "data": [1, 2]}]},
    "unknown name": given("y", data=[1, 2]),
    "given twice": {"inputs": [{**F, "name": "x", "data": [1, 2]}] * 2},
    "no datatype": {"inputs": [{"name": "x", "shape": [1, 2], "data": [1, 2]}]},
    "unknown datatype": given(datatype="FLOAT", data=[1, 2]),
    "another datatype": given(datatype="FP64", data=[1, 2]),
    "datatype null": given(datatype=None, data=[1, 2]),
    "no shape": {"inputs": [{"name": "x", "datatype": "FP32", "data": [1, 2]}]},
    "shape a number": {"inputs": [{"name": "x", "datatype": "FP32", "shape": 2, "data": [1, 2]}]},
    "shape of strings": given(shape=("1", "2"), data=[1, 2]),
    "shape of floats": given(shape=(1.0, 2.0), data=[1, 2]),
    "shape of booleans": given(shape=(True, 2), data=[1, 2]),
    "negative shape": given(shape=(-1, 2), data=[1, 2]),
    "shape beyond 64 bits": given(shape=(2**63, 2), data=[1, 2]),
    "shape whose product overflows": given(shape=(2**62, 2**62), data=[1, 2]),
    "no rows": given(shape=(0, 2), data=[]),
    "rank too small": given(shape=(2,), data=[1, 2]),
    "rank too large": given(shape=(1, 1, 2), data=[1, 2]),
    "too little data": given(data=[1]),
    "too much data": given(data=[1, 2, 3]),
    "nested otherwise": given(shape=(1, 2), data=[[1], [2]]),
    "ragged": given(shape=(2, 2), data=[[1, 2], [3]]),
    "half nested": given(shape=(2, 2), data=[[1, 2], 3, 4]),
    "nested deeper": given(shape=(1, 2), data=[[[1], [2]]]),
    "neither data nor size": given(),
    "data null": given(data=None),
    "data a number": given(data=1),
    "data an object": given(data={}),
    "a null in data": given(data=[1, None]),
    "a string in data": given(data=[1, "2"]),
    "a boolean in data": given(data=[1, True]),
    "an object in data": given(data=[1, {}]),
    "too large for float32": given(data=[1, 1e39]),
    "NaN": b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,NaN]}]}',
    "Infinity": b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,Infinity]}]}',
    "1e400": b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,1e400]}]}',
    "nested ten thousand deep": b"[" * 10_000 + b"]" * 10_000,
    "data nested 900 deep": b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":'
    + b"[" * 900
    + b"]" * 900
    + b"}]}",
    "id a number": {**given(data=[1, 2]), "id": 3},
    "parameters a list": {**given(data=[1, 2]), "parameters": []},
    "a parameter an object": {**given(data=[1, 2]), "parameters": {"a": {}}},
    "input parameters a string": given(data=[1, 2], parameters="a"),
    "binary_data_output a string": {**given(data=[1, 2]), "parameters": {"binary_data_output": "yes"}},
    "priority negative": {**given(data=[1, 2]), "parameters": {"priority": -1}},
    "priority not there": {**given(data=[1, 2]), "parameters": {"priority": 9}},
    "timeout a float": {**given(data=[1, 2]), "parameters": {"timeout": 0.5}},
    "timeout negative": {**given(data=[1, 2]), "parameters": {"timeout": -1}},
    "a sequence": {**given(data=[1, 2]), "parameters": {"sequence_id": 7, "sequence_start": True}},
    "outputs an object": {**given(data=[1, 2]), "outputs": {}},
    "output a string": {**given(data=[1, 2]), "outputs": ["y"]},
    "unknown output": {**given(data=[1, 2]), "outputs": [{"name": "z"}]},
    "output twice": {**given(data=[1, 2]), "outputs": [{"name": "y"}, {"name": "y"}]},
    "output without a name": {**given(data=[1, 2]), "outputs": [{}]},
    "binary_data a number": {**given(data=[1, 2]), "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
    "classification": {**given(data=[1, 2]), "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
    "more rows than a batch holds": given(shape=(33, 2), data=[1.0] * 66),
}


def refused(answer, status: int = 400) -> None:
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    assert isinstance(answer.json["error"], str)
    assert answer.json["error"]


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_are_400_in_words(serve, case: str) -> None:
    server = serve("float")
    refused(server.infer(BAD_REQUESTS[case]))
    assert server.infer(given(data=[1, 2])).status == 200


TYPED = {
    "a float for an integer": ("long", "INT64", [1.5, 2]),
    "a whole float for an integer": ("long", "INT64", [1.0, 2]),
    "beyond 64 bits": ("long", "INT64", [2**63, 0]),
    "negative and unsigned": ("ulong", "UINT64", [-1, 0]),
    "too large for a byte": ("byte", "UINT8", [256, 0]),
    "a number for a boolean": ("flags", "BOOL", [1, 0]),
    "a string for a boolean": ("flags", "BOOL", ["true", "false"]),
    "a number for a string": ("text", "BYTES", [1, 2]),
    "a boolean for an integer": ("long", "INT64", [True, 1]),
}


@pytest.mark.parametrize("case", TYPED)
def test_nothing_is_converted_silently(serve, case: str) -> None:
    model, datatype, data = TYPED[case]
    refused(serve(model).infer(given(datatype=datatype, data=data)))


SIZE = {"binary_data_size": 8}
PAIR = np.array([1, 2], "<f4").tobytes()
BAD_BINARY = {
    "too small a size": (given(parameters={"binary_data_size": 4}), PAIR, {}),
    "too large a size": (given(parameters={"binary_data_size": 12}), PAIR, {}),
    "negative size": (given(parameters={"binary_data_size": -1}), PAIR, {}),
    "size a string": (given(parameters={"binary_data_size": "8"}), PAIR, {}),
    "size a boolean": (given(parameters={"binary_data_size": True}), PAIR, {}),
    "size beyond 64 bits": (given(parameters={"binary_data_size": 2**64}), PAIR, {}),
    "data and size": (given(data=[1, 2], parameters=SIZE), PAIR, {}),
    "bytes left over": (given(parameters=SIZE), PAIR + b"\0", {}),
    "bytes for nobody": (given(data=[1, 2]), PAIR, {}),
    "no bytes": (given(parameters=SIZE), b"", {}),
    "NaN": (given(parameters=SIZE), np.array([1, np.nan], "<f4").tobytes(), {}),
    "infinity": (given(parameters=SIZE), np.array([1, np.inf], "<f4").tobytes(), {}),
    "header length not a number": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "abc"}),
    "header length negative": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "-1"}),
    "header length a float": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "1.5"}),
    "header length with a sign": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "+10"}),
    "header length huge": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "9" * 40}),
    "header length beyond the body": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "99999"}),
    "header length inside the JSON": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": "10"}),
    "header length empty": (given(parameters=SIZE), PAIR, {"Inference-Header-Content-Length": ""}),
    "nothing but data of a wrong size": (b"\0" * 7, b"", {"Inference-Header-Content-Length": "0"}),
}


@pytest.mark.parametrize("case", BAD_BINARY)
def test_bad_binary_requests_are_400_in_words(serve, case: str) -> None:
    document, binary, headers = BAD_BINARY[case]
    refused(serve("float").infer(document, binary, headers))
    assert serve("float").infer(given(data=[1, 2])).status == 200


@pytest.mark.parametrize("raw", [b"\x05\0\0\0abc", b"\x01\0", b"\x01\0\0\0a" * 3, b"\xff\xff\xff\xff", b""])
def test_broken_strings_in_binary(serve, raw: bytes) -> None:
    asked = given(datatype="BYTES", parameters={"binary_data_size": len(raw)})
    refused(serve("text").infer(asked, raw, {"Inference-Header-Content-Length": str(len(orjson.dumps(asked)))}))


def test_a_boolean_byte_is_0_or_1(serve) -> None:
    asked = given(datatype="BOOL", parameters={"binary_data_size": 2})
    refused(serve("flags").infer(asked, b"\x01\x02"))
    assert serve("flags").infer(asked, b"\x01\x00").json["outputs"][0]["data"] == [True, False]


def test_a_missing_input_is_named(serve) -> None:
    answer = serve("simple").infer({"inputs": [INPUT]})
    refused(answer)
    assert "INPUT1" in answer.json["error"]


def test_inputs_must_agree_on_the_rows(serve) -> None:
    refused(serve("simple").infer({"inputs": [INPUT, {**OTHER, "shape": [2, 16], "data": [1] * 32}]}))


def test_what_only_the_engine_can_refuse_is_the_clients_error_too(serve) -> None:
    bad = given(datatype="INT64", shape=(1, 2), data=[3, 99])
    refused(serve("lookup").infer(bad))
    assert serve("lookup").infer(given(datatype="INT64", shape=(1, 2), data=[3, 4])).json["outputs"][0]["data"] == [
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/simple/versions/2", 404),
        ("GET", "/v2/models/simple/versions/2/ready", 404),
        ("POST", "/v2/models/simple/versions/2/infer", 404),
        ("GET", "/v2/models/simple/nothing", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2/models/%00", 404),
        ("GET", "/v2/models/%ff%fe", 404),
        ("GET", "/v2/models//infer", 404),
        ("GET", "/v2/models/simple/infer", 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/simple", 405),
    ],
)
def test_paths(serve, method: str, path: str, status: int) -> None:
    refused(serve("simple").ask(method, path, b"{}" if method == "POST" else None), status)


def test_405_names_what_is_allowed(serve) -> None:
    assert serve("simple").ask("GET", "/v2/models/simple/infer").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"{}", 415),
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(b"{}")[:-1], 400),
        ("gzip", gzip.compress(b"{}") + b"more", 400),
        ("gzip", gzip.compress(b" " * (80 << 20)), 413),
    ],
    ids=["unknown", "not it", "cut off", "followed", "bomb"],
)
def test_bad_compression(serve, encoding: str, body: bytes, status: int) -> None:
    refused(serve("simple").infer(body, headers={"Content-Encoding": encoding}), status)
    assert serve("simple").ask("GET", "/v2/health/live").status == 200


def test_a_body_over_the_limit_is_refused_before_it_is_sent(serve) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", serve("simple").port)) as client:
        client.sendall(b"POST /v2/models/simple/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413")
