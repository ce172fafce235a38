"""Requests that are not wrong, or wrong in a way that has an answer: what clients of other languages really send."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest

from tests.cluster.paths import REPOSITORY
from tests.unit.serve.serving import PAIR, serving
from workloads.errors import BadInput, Unavailable
from workloads.serve.grpc.server import GrpcServer
from workloads.serve.http import Reply
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest import pieces
from workloads.serve.rest.inference import LONG, Codec
from workloads.serve.rest.pieces import in_pieces
from workloads.storage.object_stores import refusal

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]}
BODY = json.dumps(ROW).encode()
INFER = "/v2/models/m/infer"


async def raw(port: int, head: bytes, body: bytes = b"") -> tuple[int, bytes, bytes]:
    """Status, headers and content of one exchange, byte for byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    said, _, content = answer.partition(b"\r\n\r\n")
    return int(said.split()[1]), said, content


async def test_every_path_says_what_it_takes_and_answers_head_as_get() -> None:
    async with serving() as server:
        for path, methods in server.app.routes.items():
            status, said, content = await raw(server.port, b"OPTIONS " + path)
            assert (status, content) == (204, b"")
            allowed = next(line for line in said.split(b"\r\n") if line.startswith(b"Allow: "))[7:].split(b", ")
            assert set(allowed) == {*methods, b"OPTIONS"} | ({b"HEAD"} if b"GET" in methods else set())
            status, said, content = await raw(server.port, b"HEAD " + path)
            assert content == b""
            assert status == (200 if b"GET" in methods else 405), path
            assert (await raw(server.port, b"DELETE " + path))[0] == 405
        assert (await raw(server.port, b"OPTIONS *"))[0] == 204
        assert (await raw(server.port, b"OPTIONS /none"))[0] == 404


@pytest.mark.parametrize("path", [INFER, "/predict"])
@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda body: b"\xef\xbb\xbf" + body, 200, ""),
        (lambda body: gzip.compress(b"\xef\xbb\xbf" + body), 200, ""),
        (lambda body: body.decode().encode("utf-16"), 400, "send JSON as UTF-8"),
        (lambda body: body.decode().encode("utf-16-le"), 400, "send JSON as UTF-8"),
        (lambda body: body.decode().encode("utf-16-be"), 400, "send JSON as UTF-8"),
        (lambda body: body.decode().encode("utf-32"), 400, "send JSON as UTF-8"),
        (lambda body: b"", 400, "has no body"),
        (lambda body: body.replace(b"1.0", b"NaN"), 400, "neither NaN nor infinity"),
        (lambda body: body.replace(b"1.0", b"Infinity"), 400, "neither NaN nor infinity"),
        (lambda body: body.replace(b"1.0", b"-Infinity"), 400, "neither NaN nor infinity"),
        (lambda body: b"\xef\xbb\xbf" * 3 + body, 200, ""),
        (lambda body: b"\xef\xbb\xbf", 400, "has no body"),
    ],
)
async def test_json_of_other_encodings_is_read_or_refused_in_words(
    path: str, change: Any, status: int, words: str
) -> None:
    async with serving() as server:
        body = change(BODY if path == INFER else b'{"rows": [[1.0, 2.0]]}')
        packed = b"Content-Encoding: gzip\r\n" if body[:2] == b"\x1f\x8b" else b""
        head = b"POST %b HTTP/1.1\r\nContent-Type: application/json\r\n%b" % (path.encode(), packed)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head + b"Host: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert int(answer.split()[1]) == status
        assert words.encode() in answer


async def test_a_long_reply_is_written_in_pieces_and_not_on_the_loop(monkeypatch) -> None:
    """Some million numbers in one string kept everybody waiting for a second."""
    written: list[tuple[int, bool]] = []
    dumps = orjson.dumps

    def watched(value: Any, option: int | None = None) -> bytes:
        if isinstance(value, np.ndarray):
            written.append((value.size, threading.current_thread() is threading.main_thread()))
        return dumps(value, option=option)

    monkeypatch.setattr(pieces.orjson, "dumps", watched)
    count = 300_000
    async with serving() as server:
        document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, count], "data": [0.5] * count}]}
        async with server.client.post(server.base + INFER, json=document) as reply:
            assert reply.status == 200
            (output,) = (await reply.json())["outputs"]
        assert output["shape"] == [1, count]
        assert output["data"] == [1.0] * count
        assert sum(size for size, _ in written) == count
        assert max(size for size, _ in written) <= pieces.PIECE
        assert not any(on_loop for _, on_loop in written)
        raw_bytes = np.full(count, 0.5, "<f4").tobytes()
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "x",
                        "datatype": "FP32",
                        "shape": [1, count],
                        "parameters": {"binary_data_size": len(raw_bytes)},
                    }
                ]
            }
        ).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        async with server.client.post(server.base + INFER, data=head + raw_bytes, headers=headers) as reply:
            assert (await reply.json())["outputs"][0]["data"] == [1.0] * count
        assert not any(on_loop for _, on_loop in written)
        assert server.app.metrics.inferences == {("infer", "answered"): 2}


@pytest.mark.parametrize("count", [LONG, LONG + 1, 2 * pieces.PIECE, 5 * pieces.PIECE + 3])
@pytest.mark.parametrize("binary", [False, True])
def test_in_pieces_it_is_the_same_document(count: int, binary: bool) -> None:
    codec = Codec(PAIR, "m", "1")
    values = np.arange(count, dtype="<f4").reshape(1, -1)
    values[0, 0] = np.nan
    request = InferenceRequest((), 1, 0, 0, ((0, False), (0, True)) if binary else ((0, False),), id="a")
    reply = codec.encode(request, [values])
    whole = b"".join(reply.body)
    said = orjson.loads(whole[: len(reply.body[0])] if binary else whole)
    assert said["id"] == "a"
    first = said["outputs"][0]
    assert first["data"] == [None, *map(float, range(1, count))]
    assert first["parameters"] == {"nonfinite": True}
    assert isinstance(reply, Reply)


def test_texts_in_pieces() -> None:
    words = [f'a "quoted" {number}\0' for number in range(3 * pieces.PIECE)]
    assert orjson.loads(b"".join(in_pieces(words))) == words


async def test_a_message_that_is_small_until_it_is_unpacked_costs_bounded_memory() -> None:
    """gRPC's own compression: 64 KiB stand for 64 MiB."""
    async with serving() as server:
        listening = GrpcServer(server.app, 8 << 20, False, 1000, most=64 << 20)
        port = await listening.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)], compression=grpc.Compression.Gzip
        ) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            for size, code in ((3 << 20, "INVALID_ARGUMENT"), (64 << 20, "RESOURCE_EXHAUSTED")):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await call(bytes(size), timeout=60)
                assert error.value.code().name == code
            assert listening._receiving.memory._left == 64 << 20
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await live(b"", metadata=[("x-long", "v" * (1 << 20))], timeout=60)
            assert error.value.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
            assert await live(b"", timeout=60)
        await listening.finish(0)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://b/x", "AWS_ENDPOINT_URL"),
        ("hf://o/n@main", "HF_ENDPOINT"),
        ("https://models.example.com/x", "may the pods"),
    ],
)
def test_a_store_that_does_not_answer_is_told_with_what_may_be_wrong_there(uri: str, words: str) -> None:
    error = type("ConnectError", (Exception,), {})("[Errno -2] Name or service not known")
    told = refusal(uri, error, "fetched")
    assert isinstance(told, Unavailable), "another try may find it well"
    assert words in str(told)
    assert isinstance(refusal(uri, ValueError("no such model"), "fetched"), BadInput)


def test_a_model_that_cannot_be_reached_ends_the_server_in_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workloads", "serve", "--port", "0", "--grpc-port", "-1"]
    env = {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    uri = "https://127.0.0.1:9/model.onnx"
    command += ["--model", uri]
    ended = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"error: {uri}: it cannot be fetched")
