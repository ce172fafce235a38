"""gRPC messages on their way: all together take so much memory and no more, and whoever stalls makes way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime.waiting import until
from workloads.serve import freed
from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Invalid, QueueFull, TooLarge
from workloads.serve.grpc import receiving
from workloads.serve.grpc.receiving import Own, Receiving
from workloads.serve.grpc.turns import Turns
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.protocol.grpc_message import model_of, raw_bytes
from workloads.serve.signature import Signature, Tensor


class Call:
    """What Receiving asks of a call: a message that comes when the test says so."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def peer(self) -> str:
        return f"ipv4:{self._peer}:1234"

    async def read(self) -> bytes:
        return await self.message


async def test_stalled_messages_take_so_many_places_and_the_others_are_refused() -> None:
    memory = Own(100)
    found = Receiving(memory, 100, 10)
    assert found.places == 5 - receiving.QUICK
    calls = [Call("a") for _ in range(30)]
    tasks = [asyncio.create_task(found.message(call)) for call in calls]
    await until(lambda: sum(task.done() for task in tasks) == 27)
    assert not memory.take(71)
    ended = [task for task in tasks if task.done()]
    assert all(isinstance(task.exception(), QueueFull) for task in ended)
    quick = Call("b")
    quick.message.set_result(b"x")
    assert await found.message(quick) == b"x"
    for call, task in zip(calls, tasks, strict=True):
        if not task.done():
            call.message.set_result(b"y")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert memory.take(100), "all of it was given back"


async def test_whoever_has_stalled_longest_makes_way(monkeypatch) -> None:
    monkeypatch.setattr(receiving, "TURN", 0.2)
    found = Receiving(Own(100), 40, 10)
    stalled = [asyncio.create_task(found.message(Call("a"))) for _ in range(2)]
    await until(lambda: len(found._slow) == 2)
    await asyncio.sleep(0.2)
    late = Call("b")
    task = asyncio.create_task(found.message(late))
    await until(lambda: any(one.done() for one in stalled))
    late.message.set_result(b"z")
    assert await task == b"z"
    for one in stalled:
        one.cancel()
    await asyncio.gather(*stalled, return_exceptions=True)


PLAIN = Signature((Tensor("x", Datatype.BYTES, ("batch",)),), (Tensor("y", Datatype.BYTES, ("batch",)),))


@given(st.text(max_size=5), st.text(max_size=3), st.binary(max_size=50), st.lists(st.binary(max_size=5), max_size=5))
def test_a_walk_over_a_message_sees_what_is_in_it(name, version, raw, texts) -> None:
    message = pb.ModelInferRequest(model_name=name, model_version=version, raw_input_contents=[raw])
    message.inputs.add(name="x", datatype="BYTES", shape=[1]).contents.bytes_contents.extend(texts)
    message.parameters["a"].int64_param = -1
    packed = memoryview(message.SerializeToString())
    assert raw_bytes(packed, PLAIN) == len(raw)
    assert model_of(packed) == (name, version if name else model_of(packed)[1])


@given(st.binary(max_size=60))
def test_any_bytes_are_walked_over_or_refused(data) -> None:
    try:
        raw_bytes(memoryview(data), PLAIN)
        model_of(memoryview(data))
    except (Invalid, TooLarge):
        pass


@pytest.mark.parametrize("field", [b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x22\x00"])
def test_two_bytes_that_become_an_object_are_counted_first(field) -> None:
    with pytest.raises(Invalid, match="more inputs, outputs or parameters"):
        raw_bytes(memoryview(field * (1 << 20)), PLAIN)


async def test_no_more_messages_are_asked_for_at_once_than_there_are_turns() -> None:
    found = Receiving(Own(100), 100, 10)
    asked = 0

    class Counted(Call):
        async def read(self) -> bytes:
            nonlocal asked
            asked += 1
            return await super().read()

    calls = [Counted("a") for _ in range(30)]
    tasks = [asyncio.create_task(found.message(call)) for call in calls]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asked == receiving.QUICK
    for call in calls:
        call.message.set_result(b"x")
    assert await asyncio.gather(*tasks) == [b"x"] * 30


async def test_a_connection_with_many_calls_takes_turns_with_another() -> None:
    turns, order = Turns(1), []

    async def call(connection: str) -> None:
        await turns.begin(connection)
        order.append(connection)

    await turns.begin("first")
    tasks = [asyncio.create_task(call("many")) for _ in range(5)]
    tasks.append(asyncio.create_task(call("one")))
    await asyncio.sleep(0)
    tasks[1].cancel()
    for _ in range(6):
        turns.end()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["many", "one", "many", "many", "many"]
    await asyncio.wait_for(turns.begin("again"), 1)


async def test_large_messages_leave_room_for_those_whose_size_nobody_knows_yet() -> None:
    """What is read at once is counted when it is there: it came on top of all that the others might hold."""
    memory = Own(800)
    found = Receiving(memory, 800, 100)
    assert found.room(300, True)
    assert found.room(400, True)
    assert not found.room(1, True)
    assert found.room(100, False), "a small one is what the room is for"
    memory.give_back(800)
    assert memory.take(800)


async def test_memory_is_given_back_while_large_requests_come_without_a_pause(monkeypatch) -> None:
    """Each put the one before off, so that it was given back when the last was over."""
    trims: list[int] = []
    monkeypatch.setattr(freed, "PAUSE", 0.01)
    found = freed.Freed()
    monkeypatch.setattr(found, "_trim", trims.append)
    async with asyncio.timeout(30):
        while len(trims) < 2:
            found.soon()
            await asyncio.sleep(0.001)
