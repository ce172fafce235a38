"""Open Inference Protocol v2 over REST, against a real process: what it must answer."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import orjson
import pytest

from tests.conformance.requests import GOOD, INPUT, OTHER, given


def test_server_metadata(serve) -> None:
    for path in ("/v2", "/v2/"):
        answer = serve("simple").ask("GET", path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json) == {"name", "version", "extensions"}
        assert "binary_tensor_data" in answer.json["extensions"]


@pytest.mark.parametrize("path", ["/v2/models/simple", "/v2/models/simple/versions/1"])
def test_model_metadata(serve, path: str) -> None:
    document = serve("simple").ask("GET", path).json
    assert (document["name"], document["versions"], document["platform"]) == ("simple", ["1"], "onnx_onnxv1")
    assert document["inputs"] == [{"name": f"INPUT{n}", "datatype": "INT32", "shape": [-1, 16]} for n in (0, 1)]
    assert document["outputs"] == [{"name": f"OUTPUT{n}", "datatype": "INT32", "shape": [-1, 16]} for n in (0, 1)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/models/simple/ready", {"name": "simple", "ready": True}),
        ("/v2/models/simple/versions/1/ready", {"name": "simple", "ready": True}),
    ],
)
def test_health(serve, path: str, body) -> None:
    answer = serve("simple").ask("GET", path)
    assert (answer.status, answer.json) == (200, body)
    assert serve("simple").ask("GET", "/v2/health/ready").json["ready"] is True


@pytest.mark.parametrize("path", ["/v2/models/simple/infer", "/v2/models/simple/versions/1/infer"])
def test_inference(serve, path: str) -> None:
    answer = serve("simple").infer({**GOOD, "id": "me"}, path=path)
    assert answer.status == 200
    document = answer.json
    assert (document["model_name"], document["model_version"], document["id"]) == ("simple", "1", "me")
    assert [output["name"] for output in document["outputs"]] == ["OUTPUT0", "OUTPUT1"]
    assert document["outputs"][0]["data"] == [n + 1 for n in range(16)]
    assert document["outputs"][1] == {
        "name": "OUTPUT1",
        "shape": [1, 16],
        "datatype": "INT32",
        "data": [n - 1 for n in range(16)],
    }


def test_an_id_that_was_not_given_is_not_returned(serve) -> None:
    assert "id" not in serve("simple").infer(GOOD).json
    assert serve("simple").infer({**GOOD, "id": ""}).json["id"] == ""


def test_nested_and_flat_data_mean_the_same(serve) -> None:
    nested = [{**one, "shape": [2, 16], "data": [one["data"], one["data"]]} for one in (INPUT, OTHER)]
    flat = [{**one, "shape": [2, 16], "data": one["data"] * 2} for one in (INPUT, OTHER)]
    first, second = (serve("simple").infer({"inputs": inputs}) for inputs in (nested, flat))
    assert first.status == 200
    assert first.body == second.body


def test_the_order_of_inputs_does_not_matter_and_that_of_outputs_is_kept(serve) -> None:
    asked = {"inputs": [OTHER, INPUT], "outputs": [{"name": "OUTPUT1"}, {"name": "OUTPUT0"}]}
    outputs = serve("simple").infer(asked).json["outputs"]
    assert [output["name"] for output in outputs] == ["OUTPUT1", "OUTPUT0"]
    assert outputs[0]["data"][:3] == [-1, 0, 1]


def test_only_the_outputs_asked_for(serve) -> None:
    outputs = serve("simple").infer({**GOOD, "outputs": [{"name": "OUTPUT1"}]}).json["outputs"]
    assert [output["name"] for output in outputs] == ["OUTPUT1"]


def test_unknown_keys_and_parameters_are_passed_over(serve) -> None:
    asked = {**GOOD, "parameters": {"mine": 1.5, "flag": True}, "comment": "hello"}
    assert serve("simple").infer(asked).status == 200


def test_head_is_get_without_a_body(serve) -> None:
    answer = serve("simple").ask("HEAD", "/v2/health/live")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


# binary tensor extension


def test_binary_in_binary_out(serve) -> None:
    first, second = np.arange(16, dtype="<i4"), np.full(16, 3, "<i4")
    inputs = [
        {"name": name, "shape": [1, 16], "datatype": "INT32", "parameters": {"binary_data_size": 64}}
        for name in ("INPUT0", "INPUT1")
    ]
    asked = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    answer = serve("simple").infer(asked, first.tobytes() + second.tobytes())
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers["inference-header-content-length"])
    document = orjson.loads(answer.body[:size])
    assert [output["parameters"] for output in document["outputs"]] == [{"binary_data_size": 64}] * 2
    assert all("data" not in output for output in document["outputs"])
    total, difference = np.frombuffer(answer.body[size:], "<i4").reshape(2, 16)
    np.testing.assert_array_equal(total, first + second)
    np.testing.assert_array_equal(difference, first - second)


def test_binary_and_json_may_be_mixed_and_an_output_overrides_the_request(serve) -> None:
    binary = {"name": "INPUT1", "shape": [1, 16], "datatype": "INT32", "parameters": {"binary_data_size": 64}}
    asked = {
        "inputs": [INPUT, binary],
        "outputs": [{"name": "OUTPUT0"}, {"name": "OUTPUT1", "parameters": {"binary_data": False}}],
        "parameters": {"binary_data_output": True},
    }
    answer = serve("simple").infer(asked, np.ones(16, "<i4").tobytes())
    size = int(answer.headers["inference-header-content-length"])
    first, second = orjson.loads(answer.body[:size])["outputs"]
    assert (first["parameters"], second["data"][:2]) == ({"binary_data_size": 64}, [-1, 0])
    assert len(answer.body) == size + 64


def test_a_request_of_nothing_but_data(serve) -> None:
    x = np.arange(8, dtype="<f4")
    answer = serve("mlp").infer(x.tobytes(), headers={"Inference-Header-Content-Length": "0"})
    assert answer.status == 200, answer.body
    size = int(answer.headers["inference-header-content-length"])
    assert orjson.loads(answer.body[:size])["outputs"][0]["shape"] == [1, 3]
    assert len(answer.body) == size + 12


def test_strings_in_json_and_in_binary(serve) -> None:
    words = ["é", "", "tail"]
    answer = serve("text").infer(given(datatype="BYTES", shape=(1, 3), data=words))
    assert answer.json["outputs"][0]["data"] == words
    raw = b"".join(len(word.encode()).to_bytes(4, "little") + word.encode() for word in words)
    asked = given(datatype="BYTES", shape=(1, 3), parameters={"binary_data_size": len(raw)})
    answer = serve("text").infer({**asked, "parameters": {"binary_data_output": True}}, raw)
    assert answer.body[int(answer.headers["inference-header-content-length"]) :] == raw


@pytest.mark.parametrize(
    ("model", "datatype", "data"),
    [
        ("flags", "BOOL", [True, False]),
        ("byte", "UINT8", [0, 255]),
        ("long", "INT64", [-(2**63), 2**63 - 1]),
        ("ulong", "UINT64", [0, 2**64 - 1]),
        ("float", "FP32", [0.5, -3]),
        ("double", "FP64", [1e300, -0.1]),
    ],
)
def test_types_to_their_limits(serve, model: str, datatype: str, data) -> None:
    answer = serve(model).infer(given(datatype=datatype, data=data))
    assert answer.status == 200, answer.body
    assert answer.json["outputs"][0]["data"] == data
    assert answer.json["outputs"][0]["datatype"] == datatype


def test_half_floats_travel_in_binary_only(serve) -> None:
    raw = np.array([0.5, -2], "<f2").tobytes()
    asked = given(datatype="FP16", parameters={"binary_data_size": 4})
    good = serve("half").infer({**asked, "parameters": {"binary_data_output": True}}, raw)
    assert good.body.endswith(raw)
    refused = serve("half").infer(asked, raw)
    assert (refused.status, "binary" in refused.json["error"]) == (400, True)
    refused = serve("half").infer({**given(datatype="FP16", data=[0.5, 1]), "parameters": {"binary_data_output": True}})
    assert (refused.status, "binary" in refused.json["error"]) == (400, True)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(serve, encoding: str) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](orjson.dumps(GOOD))
    answer = serve("simple").infer(packed, headers={"Content-Encoding": encoding})
    assert answer.json["outputs"][0]["data"][0] == 1


def test_an_escaped_path_is_the_same_path(serve) -> None:
    assert serve("simple").ask("GET", "/v2/models/%73imple").status == 200


def test_metrics_are_prometheus_text(serve) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    serve("simple").infer(GOOD)
    text = serve("simple").ask("GET", "/metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {"slipway_queue_seconds", "slipway_engine_seconds", "slipway_batch_rows", "slipway_rejected"} <= set(
        families
    )
    assert families["slipway_ready"].samples[0].value == 1
    assert sum(sample.value for sample in families["slipway_replies"].samples if sample.labels["code"] == "200") > 0
