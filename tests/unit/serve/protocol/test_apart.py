"""Requests that are read in a process of their own: the same answer, bounded time and memory, the small ones first."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import threading

import numpy as np
import orjson
import pytest

from tests.unit.runtime.waiting import until
from tests.unit.serve.protocol.test_codec import request
from tests.unit.serve.serving import serving
from workloads.serve.apart import Job, ReaderPool
from workloads.serve.apart.pool import SMALL
from workloads.serve.apart.talk import SMALL as SMALL_FRAME
from workloads.serve.apart.talk import receive, send
from workloads.serve.app import LARGE
from workloads.serve.datatypes import Datatype
from workloads.serve.errors import DeadlineExceeded, Invalid, TooLarge
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature, Tensor

PAIR = Signature(
    (Tensor("x", Datatype.FP32, ("batch", "n")), Tensor("words", Datatype.BYTES, ("batch",))),
    (Tensor("y", Datatype.FP32, ("batch",)), Tensor("z", Datatype.FP32, ("batch",))),
)
CODEC = Codec(PAIR, "m", "1", max_body_size=64 << 20)
LONG = 60.0  # seconds; a busy machine takes its time to start a process


def document(columns: int, **rest) -> bytes:
    x = np.arange(2 * columns, dtype=np.float32).reshape(2, columns)
    inputs = [
        {"name": "words", "datatype": "BYTES", "shape": [2], "data": ["a" * 70_000, "é"]},
        {"name": "x", "datatype": "FP32", "shape": [2, columns], "data": x},
    ]
    return orjson.dumps({"inputs": inputs, **rest}, option=orjson.OPT_SERIALIZE_NUMPY)


@pytest.fixture
async def apart():
    pool = ReaderPool(CODEC)
    yield pool
    await pool.close()


def same(one, other) -> None:
    assert [array.dtype for array in one.inputs] == [array.dtype for array in other.inputs]
    assert all((a == b).all() for a, b in zip(one.inputs, other.inputs, strict=True))
    for field in ("rows", "group", "size", "outputs", "id", "priority", "timeout"):
        assert getattr(one, field) == getattr(other, field)


async def test_what_is_read_apart_is_the_same_request(apart) -> None:
    more = {"id": "é", "parameters": {"timeout": 5, "priority": 2}, "outputs": [{"name": "z"}]}
    body = document(30_000, **more)
    for job, plain in (
        (Job("rest", {}, (body[:100], body[100:])), body),
        (Job("rest", {b"content-encoding": b"gzip"}, (gzip.compress(body),)), body),
    ):
        same(await apart.read(job, LONG), CODEC.decode(request(plain)))
    assert await apart.inflated(Job("inflate", {b"content-encoding": b"gzip"}, (gzip.compress(body),)), LONG) == body


async def test_a_refusal_is_the_same_as_well(apart) -> None:
    with pytest.raises(Invalid, match="the model has no input 'wrong'"):
        await apart.read(Job("rest", {}, (document(10).replace(b'"x"', b'"wrong"'),)), LONG)
    bomb = gzip.compress(b'{"inputs":[{"name":"x","data":[' + b"[]," * (20 << 20))
    with pytest.raises(TooLarge, match="send it uncompressed"):
        await apart.read(Job("rest", {b"content-encoding": b"gzip"}, (bomb,)), LONG)
    with pytest.raises(TooLarge, match="values"):
        await apart.read(Job("rest", {}, (b'{"inputs":[' + b"{}," * (4 << 20) + b"]}",)), LONG)


async def test_a_process_that_ends_costs_one_request(apart) -> None:
    await apart.read(Job("rest", {}, (document(10),)), LONG)
    (used,) = [lane for lane in apart._lanes if lane._process is not None]
    os.kill(used._process.pid, signal.SIGKILL)
    with pytest.raises(TooLarge, match="has ended the process"):
        await apart.read(Job("rest", {}, (document(10),)), LONG)
    assert (await apart.read(Job("rest", {}, (document(10),)), LONG)).rows == 2


async def test_a_request_whose_time_is_over_ends_with_its_process(apart) -> None:
    await apart.read(Job("rest", {}, (document(10),)), LONG)
    (used,) = [lane for lane in apart._lanes if lane._process is not None]
    process = used._process
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        await apart.read(Job("rest", {}, (document(10),)), 0.2)
    await until(lambda: process.returncode is not None)
    assert apart._free == [True, True]


async def test_a_client_that_leaves_gives_its_place_back(apart) -> None:
    tasks = [asyncio.create_task(apart.read(Job("rest", {}, (document(10),)), LONG)) for _ in range(6)]
    await until(lambda: apart._waiting)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert apart._free == [True, True]
    assert apart._waiting == []


async def test_the_small_do_not_wait_for_the_large(apart) -> None:
    order: list[str] = []

    async def ask(name: str, job: Job) -> None:
        try:
            await apart.read(job, LONG)
        except Invalid:
            order.append(name)

    large = [asyncio.create_task(ask("large", Job("rest", {}, (b" " * (SMALL + 1),)))) for _ in range(4)]
    await asyncio.sleep(0)
    small = [asyncio.create_task(ask("small", Job("rest", {}, (b"x" * 100,)))) for _ in range(4)]
    await asyncio.gather(*large, *small)
    assert order.index("large") >= 0
    assert order[-1] == "large"
    assert order[:4].count("small") >= 3


async def test_a_large_body_in_binary_is_put_together_and_checked_on_a_thread(monkeypatch) -> None:
    """Joining 62 MiB and looking for NaN in it took the loop 50 ms; neither needs the interpreter."""
    threads: dict[bool, str] = {}
    real = Codec.decode

    def decode(codec: Codec, given) -> object:
        threads[given.size > LARGE] = threading.current_thread().name
        return real(codec, given)

    monkeypatch.setattr(Codec, "decode", decode)
    async with serving() as server:
        for columns in (4, LARGE):
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, columns]}
            head = orjson.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 4 * columns}}]})
            body = head + np.ones(columns, "<f4").tobytes()
            headers = {"Inference-Header-Content-Length": str(len(head))}
            async with server.client.post(f"{server.base}/v2/models/m/infer", data=body, headers=headers) as reply:
                assert reply.status == 200, await reply.text()
    assert threads[False] == threading.main_thread().name != threads[True]


@pytest.mark.parametrize("size", [0, 3, SMALL_FRAME - 40, SMALL_FRAME, SMALL_FRAME + 1, 300_000])
async def test_a_frame_comes_as_it_was_sent_and_its_numbers_lie_well(size: int) -> None:
    """Small ones are sent and taken in one go: a call of own code waited five times for the loop."""
    ours, theirs = socket.socketpair()
    content = os.urandom(size)
    with ours, theirs:
        for one in (ours, theirs):
            one.setblocking(False)
        sending = asyncio.create_task(send(ours, {"a": "b"}, [memoryview(content[:5]), memoryview(content[5:])]))
        said, body = await receive(theirs, 1 << 20)
        await sending
        assert (said, bytes(body)) == ({"a": "b"}, content)
        assert np.frombuffer(body, dtype=np.uint8).ctypes.data % 8 == 0 or not size
        again = asyncio.create_task(send(ours, {}, [memoryview(content)]))
        assert bytes((await receive(theirs, 1 << 20))[1]) == content
        await again
