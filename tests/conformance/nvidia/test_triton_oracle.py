"""The same requests to a real Triton and to us: what it computes we compute, what it refuses we refuse.

Where we differ on purpose is listed, with the reason. Triton's statuses are not looked at beyond good and bad: it says
500 to many a client's error.
"""

from __future__ import annotations

import http.client
import json

import numpy as np
import orjson
import pytest

from tests.conformance import environments
from tests.conformance.nvidia.triton import Model, Triton
from tests.conformance.requests import GOOD, given
from tests.conformance.server import Answer
from tests.conformance.test_rest_refused import BAD_BINARY, BAD_REQUESTS
from tests.unit.serve import onnx_models

WE_ARE_STRICTER = {
    "nothing",  # Triton 2.51 answers an empty body
    "NaN",  # JSON has no NaN; in binary it is refused unless the server is told to take it
    "Infinity",
    "infinity",
    "too large for float32",  # would be infinity
    "nested otherwise",  # Triton takes the elements of any nesting, if their number is right
    "nested deeper",
    "half nested",
    "input parameters a string",
    "output twice",  # Triton's newer versions refuse it as well
    "shape of floats",
    "no rows",  # there is nothing to compute
    "priority not there",  # Triton takes any priority for the default one
    "a sequence",  # ignored there without a sequence batcher
    "classification",  # an extension that we do not have
    "not an object",
}


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    python, trouble = environments.server()
    if not python:
        pytest.skip(f"Triton cannot be installed here: {trouble}")
    folder = tmp_path_factory.mktemp("triton")
    sixteen = [(f"INPUT{n}", "INT32", [16]) for n in (0, 1)]
    models = [
        Model(
            "simple",
            onnx_models.add_sub(folder / "simple.onnx"),
            sixteen,
            [(n.replace("IN", "OUT"), t, d) for n, t, d in sixteen],
        ),
        Model("float", onnx_models.identity(folder / "float.onnx", 1), [("x", "FP32", [-1])], [("y", "FP32", [-1])]),
    ]
    server = Triton(python, folder, models).wait()
    yield server
    server.stop()


def ask(triton: Triton, model: str, document, binary: bytes = b"", headers=None) -> Answer:
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    extra = dict(headers or {})
    if binary:
        extra.setdefault("Inference-Header-Content-Length", str(len(head)))
    connection = http.client.HTTPConnection("127.0.0.1", triton.port, timeout=30)
    connection.request("POST", f"/v2/models/{model}/infer", head + binary, extra)
    reply = connection.getresponse()
    return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())


def tensors(answer: Answer):
    """Outputs as (name, datatype, shape, values), wherever their data is."""
    assert answer.status == 200, answer.body
    size = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    document, rest = orjson.loads(answer.body[:size]), answer.body[size:]
    result = []
    for output in document["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        dtype = {"INT32": "<i4", "FP32": "<f4"}[output["datatype"]]
        if length is None:
            values = np.array(output["data"], dtype)
        else:
            values, rest = np.frombuffer(rest[:length], dtype), rest[length:]
        result.append((output["name"], output["datatype"], list(output["shape"]), values.tolist()))
    assert rest == b""
    return document.get("id"), sorted(result)  # the protocol does not say in which order outputs come


RAW = np.arange(32, dtype="<i4").tobytes()
BINARY = [
    {"name": f"INPUT{n}", "shape": [1, 16], "datatype": "INT32", "parameters": {"binary_data_size": 64}} for n in (0, 1)
]
GOOD_REQUESTS = {
    "json": ("simple", GOOD, b""),
    "id": ("simple", {**GOOD, "id": "a"}, b""),
    "one output": ("simple", {**GOOD, "outputs": [{"name": "OUTPUT1"}]}, b""),
    "outputs the other way": ("simple", {**GOOD, "outputs": [{"name": "OUTPUT1"}, {"name": "OUTPUT0"}]}, b""),
    "no outputs named": ("simple", {**GOOD, "outputs": []}, b""),
    "binary in": ("simple", {"inputs": BINARY}, RAW),
    "binary in, the other way": ("simple", {"inputs": BINARY[::-1]}, RAW),
    "binary out": ("simple", {**GOOD, "parameters": {"binary_data_output": True}}, b""),
    "binary in and out": ("simple", {"inputs": BINARY, "parameters": {"binary_data_output": True}}, RAW),
    "one output binary": (
        "simple",
        {**GOOD, "outputs": [{"name": "OUTPUT0"}, {"name": "OUTPUT1", "parameters": {"binary_data": True}}]},
        b"",
    ),
    "nested": ("float", given(shape=(2, 2), data=[[1, 2], [3, 4.5]]), b""),
    "whole numbers for floats": ("float", given(data=[1, -2]), b""),
    "one column": ("float", given(shape=(3, 1), data=[1, 2, 3]), b""),
    "a full batch": ("float", given(shape=(32, 2), data=list(range(64))), b""),
    "own parameters": ("float", {**given(data=[1, 2]), "parameters": {"mine": "x"}}, b""),
}


@pytest.mark.parametrize("case", GOOD_REQUESTS)
def test_what_triton_computes_we_compute(triton, serve, case: str) -> None:
    model, document, binary = GOOD_REQUESTS[case]
    theirs = ask(triton, model, document, binary)
    ours = serve(model).infer(document, binary)
    assert tensors(ours) == tensors(theirs)
    assert ours.headers["content-type"] == theirs.headers["content-type"]


def test_what_triton_refuses_we_refuse(triton, serve) -> None:
    cases = {name: (document, b"", None) for name, document in BAD_REQUESTS.items()} | BAD_BINARY
    stricter, laxer = set(), set()
    for name, (document, binary, headers) in cases.items():
        theirs = ask(triton, "float", document, binary, headers).status < 400
        ours = serve("float").infer(document, binary, headers).status < 400
        if theirs and not ours:
            stricter.add(name)
        if ours and not theirs:
            laxer.add(name)
    assert laxer == set()
    assert stricter <= WE_ARE_STRICTER, stricter - WE_ARE_STRICTER


def test_metadata_has_the_same_form(triton, serve) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", triton.port, timeout=30)
    connection.request("GET", "/v2/models/simple")
    theirs = orjson.loads(connection.getresponse().read())
    ours = serve("simple").ask("GET", "/v2/models/simple").json
    assert {key: ours[key] for key in ("name", "versions", "inputs", "outputs")} == {
        key: theirs[key] for key in ("name", "versions", "inputs", "outputs")
    }
