"""Open Inference Protocol v2 over gRPC, against the same processes: its methods, its statuses, and health."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from workloads.serve.protocol import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
REPLIES = {
    "ServerLive": pb.ServerLiveResponse,
    "ServerReady": pb.ServerReadyResponse,
    "ModelReady": pb.ModelReadyResponse,
    "ServerMetadata": pb.ServerMetadataResponse,
    "ModelMetadata": pb.ModelMetadataResponse,
    "ModelInfer": pb.ModelInferResponse,
}


def call(server, method: str, request, timeout: float = 20):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        path = method if method.startswith("/") else SERVICE + method
        reply = REPLIES.get(method, health_pb2.HealthCheckResponse)
        return channel.unary_unary(path, lambda m: m.SerializeToString(), reply.FromString)(request, timeout=timeout)


def code(server, method: str, request, timeout: float = 20) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as failed:
        call(server, method, request, timeout)
    return failed.value.code().name, failed.value.details()


def pair(
    name: str = "float", datatype: str = "FP32", shape=(1, 2), contents=None, raw=None, **rest
) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    if contents:
        tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return pb.ModelInferRequest(model_name=name, inputs=[tensor], raw_input_contents=raw or [], **rest)


FLOATS = np.array([1, 2], "<f4").tobytes()


def test_server(serve) -> None:
    server = serve("simple")
    assert call(server, "ServerLive", pb.ServerLiveRequest()).live
    assert call(server, "ServerReady", pb.ServerReadyRequest()).ready
    metadata = call(server, "ServerMetadata", pb.ServerMetadataRequest())
    assert (metadata.name, "binary_tensor_data" in metadata.extensions) == ("slipway", True)
    health = call(server, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_model(serve) -> None:
    server = serve("simple")
    assert call(server, "ModelReady", pb.ModelReadyRequest(name="simple", version="1")).ready
    metadata = call(server, "ModelMetadata", pb.ModelMetadataRequest(name="simple"))
    assert (metadata.platform, list(metadata.versions)) == ("onnx_onnxv1", ["1"])
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("INPUT0", "INT32", [-1, 16]),
        ("INPUT1", "INT32", [-1, 16]),
    ]


@pytest.mark.parametrize("raw", [True, False])
def test_inference(serve, raw: bool) -> None:
    first, second = np.arange(16, dtype="<i4"), np.full(16, 3, "<i4")
    request = pb.ModelInferRequest(model_name="simple", id="me")
    for name, array in (("INPUT0", first), ("INPUT1", second)):
        tensor = request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        if raw:
            request.raw_input_contents.append(array.tobytes())
        else:
            tensor.contents.int_contents.extend(array.tolist())
    request.outputs.add(name="OUTPUT1")
    reply = call(serve("simple"), "ModelInfer", request)
    assert (reply.model_name, reply.model_version, reply.id) == ("simple", "1", "me")
    assert [(t.name, t.datatype, list(t.shape)) for t in reply.outputs] == [("OUTPUT1", "INT32", [1, 16])]
    np.testing.assert_array_equal(np.frombuffer(reply.raw_output_contents[0], "<i4"), first - second)


@pytest.mark.parametrize(
    ("model", "datatype", "contents", "raw"),
    [
        ("text", "BYTES", {"bytes_contents": [b"\xff\x00", b""]}, b"\x02\0\0\0\xff\x00\0\0\0\0"),
        ("flags", "BOOL", {"bool_contents": [True, False]}, b"\x01\x00"),
        ("byte", "UINT8", {"uint_contents": [0, 255]}, b"\x00\xff"),
        ("long", "INT64", {"int64_contents": [-1, 1]}, np.array([-1, 1], "<i8").tobytes()),
        ("ulong", "UINT64", {"uint64_contents": [2**64 - 1, 1]}, np.array([2**64 - 1, 1], "<u8").tobytes()),
        ("double", "FP64", {"fp64_contents": [0.1, 2]}, np.array([0.1, 2], "<f8").tobytes()),
        ("half", "FP16", None, np.array([0.5, 2], "<f2").tobytes()),
    ],
)
def test_types(serve, model: str, datatype: str, contents, raw: bytes) -> None:
    if model == "text":
        contents, raw = {"bytes_contents": [b"ab", b""]}, b"\x02\0\0\0ab\0\0\0\0"
    if contents:
        typed = call(serve(model), "ModelInfer", pair(model, datatype, contents=contents))
        assert typed.raw_output_contents[0] == raw
    assert call(serve(model), "ModelInfer", pair(model, datatype, raw=[raw])).raw_output_contents[0] == raw


BAD = {
    "no input": pb.ModelInferRequest(model_name="float"),
    "no data": pair(),
    "another datatype": pair(datatype="FP64", contents={"fp64_contents": [1, 2]}),
    "unknown datatype": pair(datatype="FLOAT", contents={"fp32_contents": [1, 2]}),
    "another field": pair(contents={"fp64_contents": [1, 2]}),
    "two fields": pair(contents={"fp32_contents": [1, 2], "int_contents": [1]}),
    "too little": pair(contents={"fp32_contents": [1]}),
    "too much": pair(contents={"fp32_contents": [1, 2, 3]}),
    "NaN": pair(contents={"fp32_contents": [1, float("nan")]}),
    "raw and typed": pair(contents={"fp32_contents": [1, 2]}, raw=[FLOATS]),
    "raw too short": pair(raw=[FLOATS[:-1]]),
    "raw too long": pair(raw=[FLOATS + b"\0"]),
    "raw twice": pair(raw=[FLOATS, FLOATS]),
    "raw NaN": pair(raw=[np.array([1, np.nan], "<f4").tobytes()]),
    "negative shape": pair(shape=(-1, 2), raw=[FLOATS]),
    "no rows": pair(shape=(0, 2), raw=[b""]),
    "rank": pair(shape=(2,), raw=[FLOATS]),
    "overflow": pair(shape=(2**62, 2**62), raw=[FLOATS]),
    "too many rows": pair(shape=(33, 2), raw=[FLOATS * 33]),
    "unknown output": pair(raw=[FLOATS], outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="z")]),
    "parameter without a value": pair(raw=[FLOATS], parameters={"a": pb.InferParameter()}),
    "priority a string": pair(raw=[FLOATS], parameters={"priority": pb.InferParameter(string_param="1")}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_invalid_argument(serve, case: str) -> None:
    status, words = code(serve("float"), "ModelInfer", BAD[case])
    assert (status, bool(words)) == ("INVALID_ARGUMENT", True)
    assert call(serve("float"), "ModelInfer", pair(raw=[FLOATS])).raw_output_contents[0] == FLOATS


def test_a_byte_out_of_range_in_a_wider_field(serve) -> None:
    status, _ = code(serve("byte"), "ModelInfer", pair("byte", "UINT8", contents={"uint_contents": [256, 0]}))
    assert status == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("method", "request_", "status"),
    [
        ("ModelInfer", pair("other", raw=[FLOATS]), "NOT_FOUND"),
        ("ModelInfer", pair(raw=[FLOATS], model_version="2"), "NOT_FOUND"),
        ("ModelReady", pb.ModelReadyRequest(name="other"), "NOT_FOUND"),
        ("ModelMetadata", pb.ModelMetadataRequest(name="float", version="7"), "NOT_FOUND"),
        ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service="other"), "NOT_FOUND"),
        ("/inference.GRPCInferenceService/Nothing", pb.ServerLiveRequest(), "UNIMPLEMENTED"),
    ],
)
def test_statuses(serve, method: str, request_, status: str) -> None:
    assert code(serve("float"), method, request_)[0] == status


def test_the_generated_code_is_that_of_the_proto(tmp_path) -> None:
    from workloads.serve.protocol import generate

    generate.generate(tmp_path)
    for name in generate.GENERATED:
        assert (tmp_path / name).read_text() == (generate.HERE / name).read_text(), f"run {generate.__name__}"


def test_many_large_messages_at_once_stay_within_the_memory_for_requests(serve) -> None:
    """30 of 62 MiB; each is refused, in words, and none is kept."""
    server = serve("simple")
    message = pb.ModelInferRequest(model_name=server.name)
    message.inputs.add(name="nothing", datatype="FP32", shape=[1])
    message.raw_input_contents.append(bytes(62 << 20))
    packed, before = message.SerializeToString(), memory(server, "VmHWM")

    def ask(_: int) -> grpc.StatusCode:
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=options) as channel:
            method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.RpcError) as refused:
                method(packed, timeout=60)
            return refused.value.code()

    with ThreadPoolExecutor(30) as clients:
        codes = set(clients.map(ask, range(30)))
    assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert memory(server, "VmHWM") - before < 1.2 * 512
    until = time.monotonic() + 30
    while memory(server, "VmRSS") - before > 128 and time.monotonic() < until:
        time.sleep(0.2)
    assert memory(server, "VmRSS") - before < 128, "what was refused is still in memory"


def memory(server, what: str) -> int:
    """MiB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(what))
