"""One hostile request of each kind, and the longest turn that the event loop has because of it.

Counted in CPU time of the loop's thread: whoever else wants the machine's cores does not change it. What is bounded
here took from a tenth of a second up to two minutes.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import grpc
import numpy as np
import orjson
import pytest
from PIL import Image

from slipway.api.common.artifact import Preprocessing
from tests.unit.serve.serving import Serving, serving
from tests.unit.serve.web.test_decoding import encoded
from workloads.serve.batcher import Limits
from workloads.serve.grpc.server import GrpcServer
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.web.multipart import PIECE, parts
from workloads.serve.web.pictures.decoding import Decoding

MIB = 1 << 20
PATIENT = Limits(default_timeout=300.0)  # however slow the process that reads is
# Seconds; usual are a few milliseconds, on a machine that is several times faster than the slowest.
LONGEST = 0.25
INFER = "/v2/models/m/infer"


@pytest.fixture
def event_loop_policy():
    return asyncio.DefaultEventLoopPolicy()  # whose turns can be counted


@contextmanager
def turns() -> Iterator[list[float]]:
    """CPU seconds of each callback of the loop."""
    found: list[float] = []
    real = asyncio.Handle._run

    def run(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        real(handle)
        found.append(time.thread_time() - started)

    asyncio.Handle._run = run
    try:
        yield found
    finally:
        asyncio.Handle._run = real


def posted(port: int, body: bytes, headers: dict[str, str], path: str = INFER) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", path, body, headers)
    return connection.getresponse().status


def called(port: int, message: bytes) -> str:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(message, timeout=300)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name


def binary() -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "shape": [1, 15 * MIB], "datatype": "FP32", "parameters": {"binary_data_size": 60 * MIB}}
    head = orjson.dumps({"inputs": [tensor]})
    return head + bytes(60 * MIB - 4) + b"\xff" * 4, {"Inference-Header-Content-Length": str(len(head))}


def filled(piece: bytes, times: int) -> bytes:
    return b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[%b]}]}' % (piece * times + piece[:-1])


REST = {
    "binary, of which the last number is none": lambda: (*binary(), 400),
    "brackets in gzip": lambda: (gzip.compress(filled(b"[],", 20 * MIB), 1), {"Content-Encoding": "gzip"}, 413),
}
GRPC = {
    "60 MiB": lambda: (
        pb.ModelInferRequest(
            model_name="m",
            inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])],
            raw_input_contents=[bytes(60 * MIB)],
        ).SerializeToString(),
        "INVALID_ARGUMENT",
    ),
    "many texts": lambda: (texts(100_000), "INVALID_ARGUMENT"),
    "millions of names": lambda: (b"\x0a\x00" * (4 * MIB), "INVALID_ARGUMENT"),
}


def texts(count: int) -> bytes:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="BYTES", shape=[count]).contents.bytes_contents.extend([b"a"] * count)
    return message.SerializeToString()


async def longest(server: Serving, hostile: Callable[[], Awaitable[object]], want: object) -> float:
    """The longest turn beside a hostile request, of which the same one before has started what it needs."""
    assert await hostile() == want
    with turns() as found:
        assert await hostile() == want
        status, _ = await server.get("/v2/health/ready")
        assert status == 200
    return max(found)


@pytest.mark.parametrize("kind", REST)
async def test_a_hostile_body_has_no_long_turn(kind: str) -> None:
    body, headers, want = REST[kind]()
    async with serving(limits=PATIENT) as server:
        hostile = lambda: asyncio.to_thread(posted, server.port, body, headers)  # noqa: E731
        assert await longest(server, hostile, want) < LONGEST


@pytest.mark.parametrize("kind", GRPC)
async def test_a_hostile_message_has_no_long_turn(kind: str) -> None:
    message, want = GRPC[kind]()
    async with serving(limits=PATIENT) as server:
        listening = GrpcServer(server.app, 64 * MIB, False, 100)
        port = await listening.start("127.0.0.1", 0)
        assert await longest(server, lambda: asyncio.to_thread(called, port, message), want) < LONGEST
        await listening.finish(0)


async def test_a_large_picture_has_no_long_turn() -> None:
    how = Preprocessing(channels=3, height=224, width=224, resize=256, mean=[0.0] * 3, std=[1.0] * 3)
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    content = memoryview(encoded(Image.fromarray(noise), "PNG", compress_level=0))
    decoding = Decoding(how)
    await decoding.to_input([content], ("a", 0), 300)
    with turns() as found:
        array, _ = await decoding.to_input([content], ("a", 0), 300)
    await decoding.close()
    assert array.shape == (1, 3, 224, 224)
    assert max(found) < LONGEST


async def test_a_large_form_is_looked_at_in_pieces_and_copied_nowhere() -> None:
    """All of it was split in one go: each part copied, and everybody else waiting."""
    content = bytes(3 * PIECE) + b"\r\n--" + bytes(3 * PIECE) + b"\r\n"
    body = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%b\r\n' % content * 3 + b"--b--\r\n"
    steps = 0

    async def others() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = await parts(b"multipart/form-data; boundary=b", body)
    beside.cancel()
    assert [bytes(part.content) for part in found] == [content] * 3
    assert all(part.content.obj is body for part in found)
    assert steps >= len(body) // PIECE
