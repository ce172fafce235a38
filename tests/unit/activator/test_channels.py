"""A gRPC channel that only connects is no request: it wakes nobody and keeps nobody awake."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.activator.crowd import HOST, activator
from tests.unit.runtime.waiting import until
from workloads.activator.wire_protocol import ACKNOWLEDGED, PREFACE, SETTINGS, Http2Frames

PING = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + bytes(8)
WINDOW = bytes((0, 0, 4, 8, 0, 0, 0, 0, 0)) + bytes((0, 1, 0, 0))
HEADERS = bytes((0, 0, 3, 1, 4, 0, 0, 0, 1)) + b"abc"
DATA = bytes((0, 0, 2, 0, 1, 0, 0, 0, 1)) + b"\x01\x01"
QUIET = st.lists(st.sampled_from([SETTINGS, PING, WINDOW]), max_size=6).map(b"".join)


def heard(stream: bytes, cuts: list[int]) -> bool:
    ear, asked, at = Http2Frames(), False, 0
    for cut in [*cuts, len(stream)]:
        asked = ear.asks(stream[at : at + cut]) or asked
        at += cut
    return asked


@given(QUIET, st.lists(st.integers(1, 30), max_size=20))
def test_a_channel_that_stands_there_asks_nothing(quiet, cuts) -> None:
    assert not heard(PREFACE + quiet, cuts)


@given(QUIET, QUIET, st.sampled_from([HEADERS, DATA]), st.lists(st.integers(1, 30), max_size=20))
def test_a_request_is_heard_in_whatever_pieces_it_comes(before, after, frame, cuts) -> None:
    assert heard(PREFACE + before + frame + after, cuts)


async def test_a_channel_that_connects_wakes_nobody_and_its_first_request_does() -> None:
    async with activator() as it:
        reader, writer = await asyncio.open_connection(HOST, it.grpc.port)
        writer.write(PREFACE + SETTINGS)
        assert await reader.readexactly(len(SETTINGS)) == SETTINGS
        writer.write(ACKNOWLEDGED + PING)
        await asyncio.sleep(0.1)
        assert (it.tracker.held, b"idle_seconds" in it.tracker.text()) == (0, False)
        writer.write(HEADERS)
        await until(lambda: it.tracker.held == 1)
        writer.close()
