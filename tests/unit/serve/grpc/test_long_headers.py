"""Headers of a call that are longer than a server takes: its client hears it in words, and the others go on."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.serve.grpc.test_grpc import listening
from tests.unit.serve.serving import serving
from workloads.serve.http2 import frames
from workloads.serve.http2.frames import frame
from workloads.serve.http2.hpack import Decoder, literal

PATH = literal(b":path", b"/grpc.health.v1.Health/Check")
CALL = b"\x83\x86" + PATH + literal(b"content-type", b"application/grpc")
COOKIE = literal(b"cookie", b"a" * 40_000)


def opened(number: int, block: bytes) -> bytes:
    """Headers of a call, in as many frames as they take."""
    pieces = [block[place : place + 16_000] for place in range(0, len(block), 16_000)]
    data = b""
    for place, piece in enumerate(pieces):
        flags = frames.END_HEADERS if place == len(pieces) - 1 else 0
        data += frame(frames.CONTINUATION if place else frames.HEADERS, flags, number, piece)
    return data


async def answered(reader: asyncio.StreamReader, decoder: Decoder, number: int) -> dict[bytes, bytes]:
    """All headers of a stream's answer."""
    found: dict[bytes, bytes] = {}
    while True:
        high, low, kind, flags, stream = frames.HEAD.unpack(await reader.readexactly(frames.HEAD_BYTES))
        content = await reader.readexactly(high << 8 | low)
        assert kind != frames.GOAWAY, content
        if kind == frames.HEADERS:
            headers = decoder.headers(content)
            if stream == number:
                found |= dict(headers)
                if flags & frames.END_STREAM:
                    return found


@pytest.mark.parametrize(
    ("long", "status"),
    [
        (CALL + COOKIE, b"200"),
        (b"\x83\x86" + PATH + COOKIE, b"200"),
        (b"\x82\x86" + literal(b"content-type", b"a/b") + COOKIE, b"431"),
    ],
    ids=["a call", "a call whose type comes later", "no call"],
)
async def test_headers_that_are_too_long_end_their_call_alone(tmp_path, long: bytes, status: bytes) -> None:
    """A block over 32 KiB ended the connection, with all calls on it."""
    async with serving() as server, listening(server) as (grpc, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", grpc.port)
        writer.write(frames.PREFACE + frames.settings({}) + opened(1, long))
        decoder = Decoder()
        async with asyncio.timeout(20):
            answer = await answered(reader, decoder, 1)
            assert answer[b":status"] == status
            if status == b"200":
                assert answer[b"grpc-status"] == b"8"
                assert b"send less metadata" in answer[b"grpc-message"]
            writer.write(opened(3, CALL) + frame(frames.DATA, frames.END_STREAM, 3, bytes(5)))
            assert (await answered(reader, decoder, 3))[b":status"] == b"200"
        writer.close()
