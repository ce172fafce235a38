"""The greeting of a gRPC client that is held: one word, and its answer never reaches the replica."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.activator.crowd import HOST, activator, replica, until
from workloads.activator.wire_protocol import ACKNOWLEDGED, PREFACE, SETTINGS, Grpc


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags, 0, 0, 0, 1)) + payload


frames = st.lists(
    st.builds(frame, st.integers(0, 9), st.integers(0, 255), st.binary(max_size=40)).filter(lambda f: f[3:5] != b"\4\1")
)


@given(frames, frames, st.binary(max_size=8))
def test_the_first_acknowledgement_is_taken_out_and_nothing_else(before, after, rest):
    """Also where a payload looks like one."""
    said = PREFACE + SETTINGS + b"".join(before)
    behind = b"".join(after) + ACKNOWLEDGED + rest
    told = bytearray(said + ACKNOWLEDGED + behind)
    assert Grpc().settle(told)
    assert bytes(told) == said + behind


@given(frames, st.integers(0, 8))
def test_without_one_nothing_is_changed(before, cut):
    said = PREFACE + b"".join(before) + ACKNOWLEDGED[:cut]
    told = bytearray(said)
    assert not Grpc().settle(told)
    assert bytes(told) == said


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1], b"\x16\x03\x01"])
def test_what_speaks_something_else_is_not_spoken_to(said):
    assert Grpc().greeting(said) == b""


async def test_the_replica_hears_what_the_client_said_without_its_answer_to_us() -> None:
    async with activator() as it:
        reader, writer = await asyncio.open_connection(HOST, it.grpc.port)
        writer.write(PREFACE + SETTINGS)
        assert await reader.readexactly(len(SETTINGS)) == SETTINGS
        writer.write(ACKNOWLEDGED + frame(1, 4, b"headers"))
        async with replica(it.settings.backend_grpc) as heard:
            told = PREFACE + SETTINGS + frame(1, 4, b"headers")
            assert await reader.readexactly(len(told)) == told.upper()
            assert b"".join(heard) == told
        writer.close()


async def test_a_client_that_does_not_answer_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workloads.activator.proxy.COURTESY", 0.2)
    async with activator() as it:
        reader, writer = await asyncio.open_connection(HOST, it.grpc.port)
        writer.write(PREFACE + SETTINGS)
        assert await reader.readexactly(len(SETTINGS)) == SETTINGS
        async with replica(it.settings.backend_grpc) as heard:
            assert await reader.read() == b""
            assert heard == []
        await until(lambda: it.tracker.vanished == 1)
        writer.close()
