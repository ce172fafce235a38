"""gRPC messages on their way: all together take so much memory and no more, and whoever stalls makes way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Invalid, QueueFull, RequestError, TooLarge, TooSlow
from workloads.serve.grpc import receiving
from workloads.serve.grpc.messages import PREFIX, Messages
from workloads.serve.grpc.receiving import GrpcMemory, Receiving
from workloads.serve.protocol import grpc_message
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.protocol.grpc_message import check, in_place, model_of, raw_bytes
from workloads.serve.signature import Signature, Tensor


class Sender:
    """A call whose message comes when the test says so."""

    def __init__(self, client: str) -> None:
        self.client, self.came, self.let_in = client, 0, False
        self.error: RequestError | None = None

    def admitted(self) -> None:
        self.let_in = True

    def give_up(self, error: RequestError) -> None:
        self.error = error


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_large_messages_come_a_few_at_a_time_and_the_others_wait() -> None:
    memory = GrpcMemory(800)
    found = Receiving(memory, 800)
    senders = [Sender("a") for _ in range(5)]
    coming = [found.begin(sender, 100) for sender in senders]
    assert [sender.let_in for sender in senders] == [True, True, False, False, False]
    late = Sender("b")
    found.begin(late, 100)
    found.end(coming[0])
    assert [sender.let_in for sender in (senders[2], late)] == [False, True], "who has none is first"
    found.end(coming[1])
    assert senders[2].let_in
    assert memory.take(400), "what is left is HTTP's"


def test_room_is_kept_for_small_messages() -> None:
    memory = GrpcMemory(800)
    found = Receiving(memory, 800)
    assert memory.take(550)
    sender = Sender("a")
    found.begin(sender, 100)
    assert not sender.let_in
    assert memory.take(200), "a small one is what the room is for"
    memory.give_back(750)
    found.sweep()
    assert sender.let_in


def test_whoever_stalls_is_cut_off_and_all_of_it_is_given_back() -> None:
    clock, memory = Clock(), GrpcMemory(800)
    found = Receiving(memory, 800, clock)
    stalls, moves = Sender("a"), Sender("b")
    coming = [found.begin(sender, 100) for sender in (stalls, moves)]
    for clock.now in range(20):
        moves.came += 4096
        found.sweep()
    assert isinstance(stalls.error, TooSlow)
    assert moves.error is None
    found.end(coming[1])
    assert memory.take(800)


def test_whoever_stands_longest_makes_way_for_those_who_wait() -> None:
    clock = Clock()
    found = Receiving(GrpcMemory(800), 800, clock)
    slow = [Sender("a"), Sender("b")]
    for sender in slow:
        found.begin(sender, 100)
        clock.now += 0.1
    late = Sender("c")
    found.begin(late, 100)
    for clock.now in range(1, 4):
        for sender in slow:
            sender.came += 4096
        found.sweep()
    assert isinstance(slow[0].error, QueueFull)
    assert late.let_in
    assert slow[1].error is None, "nobody waits any more"


def test_nobody_waits_for_ever_and_so_many_wait(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr(receiving, "MOST_WAITING", 3)
    memory = GrpcMemory(800)
    assert memory.take(800)
    found = Receiving(memory, 800, clock)
    senders = [Sender("a") for _ in range(3)]
    for sender in senders:
        found.begin(sender, 100)
    with pytest.raises(QueueFull):
        found.begin(Sender("a"), 100)
    clock.now = receiving.PATIENCE + 1
    found.sweep()
    assert all(isinstance(sender.error, QueueFull) for sender in senders)


@given(st.lists(st.binary(max_size=200), max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_messages_come_out_as_they_were_however_they_are_cut(contents: list[bytes], cuts: list[int]) -> None:
    stream, found = b"".join(PREFIX.pack(0, len(one)) + one for one in contents), Messages(1000)
    while stream:
        for cut in cuts:
            found.feed(stream[:cut])
            stream = stream[cut:]
    assert [message.joined() for message in found.ready] == contents
    assert not found.begun


def test_a_message_in_pieces_of_a_byte_is_kept_in_few() -> None:
    """Each piece is an object, of forty times its size."""
    found = Messages(1 << 20)
    found.feed(PREFIX.pack(0, 200_000))
    for _ in range(200_000):
        found.feed(b"x")
    (message,) = found.ready
    assert (message.size, len(message.parts)) == (200_000, 4)


PLAIN = Signature((Tensor("x", Datatype.BYTES, ("batch",)),), (Tensor("y", Datatype.BYTES, ("batch",)),))


@given(st.text(max_size=5), st.text(max_size=3), st.binary(max_size=50), st.lists(st.binary(max_size=5), max_size=5))
def test_a_walk_over_a_message_sees_what_is_in_it(name, version, raw, texts) -> None:
    message = pb.ModelInferRequest(model_name=name, model_version=version, raw_input_contents=[raw])
    message.inputs.add(name="x", datatype="BYTES", shape=[1]).contents.bytes_contents.extend(texts)
    message.parameters["a"].int64_param = -1
    packed = memoryview(message.SerializeToString())
    assert raw_bytes(packed, PLAIN) == len(raw)
    assert model_of(packed) == (name, version if name else model_of(packed)[1])
    rest, raws = in_place(packed)
    assert [bytes(one) for one in raws] == [raw]
    del message.raw_input_contents[:]
    assert pb.ModelInferRequest.FromString(rest) == message


@given(st.binary(max_size=60))
def test_any_bytes_are_walked_over_or_refused(data) -> None:
    try:
        raw_bytes(memoryview(data), PLAIN)
        model_of(memoryview(data))
        in_place(memoryview(data))
    except (Invalid, TooLarge):
        pass


@pytest.mark.parametrize("field", [b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x22\x00"])
def test_two_bytes_that_become_an_object_are_counted_first(field) -> None:
    with pytest.raises(Invalid, match="more inputs, outputs or parameters"):
        raw_bytes(memoryview(field * (1 << 20)), PLAIN)


@pytest.mark.parametrize("walk", [model_of, in_place, lambda message: raw_bytes(message, PLAIN)])
@pytest.mark.parametrize("field", [b"\x0a\x00", b"\xf8\x07\x00"], ids=["name", "unknown"])
def test_the_loop_walks_over_a_bounded_number_of_fields(walk, field) -> None:
    """62 MiB of empty names, or of fields that nobody knows, held the event loop for two minutes."""
    with pytest.raises(Invalid, match="more than 4096 fields"):
        walk(memoryview(field * 5000))


def test_the_loop_looks_into_no_input(monkeypatch) -> None:
    """A million texts of two bytes held it for seconds before they were counted."""
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x").contents.bytes_contents.extend([b""] * 5000)
    data = memoryview(message.SerializeToString())
    steps: list[int] = []
    real = grpc_message._varint
    monkeypatch.setattr(grpc_message, "_varint", lambda *given: steps.append(1) or real(*given))
    raw_bytes(data, PLAIN)
    assert len(steps) < 20
    check(data, PLAIN)
    assert len(steps) > 5000
