"""Calls over gRPC as odd clients make them: each with the code and the words that it deserves."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import grpc
import pytest

from tests.conformance.server import Server
from workloads.serve.protocol import open_inference_pb2 as pb

ROW = [0.5] * 8
RAW = struct.pack("<8f", *ROW)
SERVICE = "/inference.GRPCInferenceService/"
Change = Callable[[pb.ModelInferRequest], object]


def request(raw: bool = True) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="mlp")
    made.inputs.add(name="x", datatype="FP32", shape=[1, 8])
    if raw:
        made.raw_input_contents.append(RAW)
    else:
        made.inputs[0].contents.fp32_contents.extend(ROW)
    return made


class Odd(NamedTuple):
    """What is done to a usual request, the code of the answer, and its words; `raw`: bytes, or numbers."""

    change: Change
    code: str = "OK"
    words: str = ""
    raw: bool = True


BAD = "INVALID_ARGUMENT"
CALLS = {
    "as it is": Odd(lambda r: None),
    "numbers": Odd(lambda r: None, raw=False),
    "numbers and bytes": Odd(lambda r: r.inputs[0].contents.fp32_contents.extend(ROW), BAD, "contents"),
    "numbers of another type": Odd(
        lambda r: (r.inputs[0].contents.Clear(), r.inputs[0].contents.int_contents.extend([1] * 8)), BAD, "FP32", False
    ),
    "no data": Odd(lambda r: r.inputs[0].contents.Clear(), BAD, "", False),
    "bytes twice": Odd(lambda r: r.raw_input_contents.append(RAW), BAD, "raw_input_contents"),
    "bytes cut short": Odd(lambda r: r.raw_input_contents.__setitem__(0, RAW[:-1]), BAD, "31 bytes"),
    "not a number": Odd(
        lambda r: r.raw_input_contents.__setitem__(0, struct.pack("<8f", float("nan"), *ROW[1:])), BAD, "NaN"
    ),
    "a shape of -1": Odd(lambda r: r.inputs[0].shape.__setitem__(0, -1), BAD, "shape"),
    "a shape that overflows": Odd(lambda r: r.inputs[0].shape.extend([2**62, 4]), BAD, "shape"),
    "no shape": Odd(lambda r: r.inputs[0].ClearField("shape"), BAD, "shape"),
    "small letters": Odd(lambda r: setattr(r.inputs[0], "datatype", "fp32"), BAD, "FP32"),
    "the schema's TYPE_FP32": Odd(lambda r: setattr(r.inputs[0], "datatype", "TYPE_FP32"), BAD, "FP32"),
    "another input": Odd(lambda r: setattr(r.inputs[0], "name", "z"), BAD, "'x'"),
    "no inputs": Odd(lambda r: (r.ClearField("inputs"), r.ClearField("raw_input_contents")), BAD),
    "an input twice": Odd(lambda r: (r.inputs.append(r.inputs[0]), r.raw_input_contents.append(RAW)), BAD, "twice"),
    "no model's name": Odd(lambda r: setattr(r, "model_name", ""), "NOT_FOUND"),
    "another model": Odd(lambda r: setattr(r, "model_name", "bert"), "NOT_FOUND", "'mlp'"),
    "version 1": Odd(lambda r: setattr(r, "model_version", "1")),
    "version 2": Odd(lambda r: setattr(r, "model_version", "2"), "NOT_FOUND", "version"),
    "an output twice": Odd(lambda r: [r.outputs.add(name="y") for _ in range(2)], BAD, "twice"),
    "an output that is not there": Odd(lambda r: r.outputs.add(name="z"), BAD, "'y'"),
    "classification": Odd(
        lambda r: setattr(r.outputs.add(name="y").parameters["classification"], "int64_param", 1), BAD, "classification"
    ),
    "shared memory in": Odd(
        lambda r: setattr(r.inputs[0].parameters["shared_memory_region"], "string_param", "a"), BAD, "memory"
    ),
    "a sequence": Odd(lambda r: setattr(r.parameters["sequence_id"], "int64_param", 1), BAD, "stateful"),
    "a parameter of another server": Odd(lambda r: setattr(r.parameters["content_type"], "string_param", "np")),
    "a timeout of 0": Odd(lambda r: setattr(r.parameters["timeout"], "int64_param", 0)),
    "a negative timeout": Odd(lambda r: setattr(r.parameters["timeout"], "int64_param", -1), BAD, "timeout"),
    "a priority that is not there": Odd(lambda r: setattr(r.parameters["priority"], "int64_param", 9), BAD, "priority"),
}


def outcome(server: Server, message: pb.ModelInferRequest, **rest: object) -> tuple[str, str]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(
            SERVICE + "ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
        )
        try:
            answer = call(message, **{"timeout": 20, **rest})
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
    assert len(answer.raw_output_contents) == 1
    return "OK", ""


def test_odd_calls_have_the_answers_that_they_deserve(serve) -> None:
    server, wrong = serve("mlp"), {}
    for name, odd in CALLS.items():
        message = request(odd.raw)
        odd.change(message)
        code, words = outcome(server, message)
        if code != odd.code or odd.words not in words:
            wrong[name] = (code, words)
    assert wrong == {}


@pytest.mark.parametrize(
    "rest",
    [
        {"compression": grpc.Compression.Gzip},
        {"compression": grpc.Compression.Deflate},
        {"metadata": (("a", "b"), ("a", "c"), ("key-bin", b"\0\xff"))},
        {"metadata": (("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"), ("baggage", "a=b"))},
        {"wait_for_ready": True},
    ],
)
def test_calls_with_more_around_them_are_answered(serve, rest: dict[str, object]) -> None:
    assert outcome(serve("mlp"), request(), **rest) == ("OK", "")


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("ModelStreamInfer", "UNIMPLEMENTED", "ModelInfer"),
        ("RepositoryIndex", "UNIMPLEMENTED", "serves one model"),
        ("RepositoryModelLoad", "UNIMPLEMENTED", ""),
        ("SystemSharedMemoryStatus", "UNIMPLEMENTED", "send the data itself"),
        ("TraceSetting", "UNIMPLEMENTED", ""),
        ("LogSettings", "UNIMPLEMENTED", ""),
        ("Infer", "UNIMPLEMENTED", ""),
    ],
)
def test_methods_that_are_not_there_are_unimplemented(serve, method: str, code: str, words: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{serve('mlp').grpc_port}") as channel:
        call = channel.unary_unary(SERVICE + method)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=20)
    assert refused.value.code().name == code
    assert words in (refused.value.details() or "")


def test_bytes_that_are_no_message_are_refused_in_words(serve) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{serve('mlp').grpc_port}") as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer")
        for content in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"{}"):
            with pytest.raises(grpc.RpcError) as refused:
                call(content, timeout=20)
            assert refused.value.code().name in {"INVALID_ARGUMENT", "INTERNAL"}, refused.value
