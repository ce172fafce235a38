"""Large bodies: in one place from the start, which the kernel has back when nobody sees it any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime.waiting import until
from tests.unit.serve.http.echo import serving
from workloads.serve.datatypes import PIECE, finite
from workloads.serve.http import HttpLimits
from workloads.serve.http.body import IN_PIECES, Body

MIB = 1 << 20


def mapped(address: int) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return True
    return False


@given(st.lists(st.integers(0, IN_PIECES // 2), max_size=8), st.booleans())
def test_a_body_is_the_bytes_that_came(sizes, known) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes, start=1)]
    body = Body(sum(sizes) if known else 64 * MIB)
    for piece in pieces:
        body.add(piece)
    assert body.size == sum(sizes)
    assert b"".join(body.parts()) == b"".join(pieces)
    assert len(body.parts()) == (1 if sum(sizes) > IN_PIECES else len(sizes))


async def test_the_kernel_has_a_large_body_back_when_its_last_view_is_gone() -> None:
    body = Body(8 * MIB)
    for _ in range(128):
        body.add(b"x" * (64 << 10))
    array = np.frombuffer(body.parts()[0], dtype=np.uint8)
    address = array.ctypes.data
    del body
    assert mapped(address), "an array of a request still sees it"
    assert array[-1] == ord("x")
    del array
    await until(lambda: not mapped(address))


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_never_put_together(chunked) -> None:
    """Memory of a large request body: a thousand pieces put together took it twice, and 6 ms to give back."""
    limits = HttpLimits(max_body_size=8 * MIB)
    async with serving(limits) as (server, _, _):
        seen: list[int] = []
        real = server._handle
        server._handle = lambda request: seen.append(len(request.parts)) or real(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (5 * MIB)
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
        for _ in range(5):
            writer.write(b"100000\r\n%b\r\n" % bytes(MIB) if chunked else bytes(MIB))
        writer.write(b"0\r\n\r\n" if chunked else b"")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert seen == [1]
        await until(lambda: not server.body_bytes)


@pytest.mark.parametrize("place", [0, PIECE - 1, PIECE, 2 * PIECE, 2 * PIECE + 6])
def test_a_number_that_is_none_is_found_wherever_it_is(place) -> None:
    array = np.zeros((1, 2 * PIECE + 7), dtype=np.float32)
    assert finite(array)
    array[0, place] = np.nan
    assert not finite(array)
