"""Large uploads and the others' turns: counted in bytes, not in seconds."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
import uvloop

from tests.unit.serve.http.echo import serving
from workloads.serve.http import HttpLimits
from workloads.serve.http.output import PIECE as OUTPUT_PIECE
from workloads.serve.http.output import Output

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
UPLOADS, SIZE = 4, 32 << 20
# What one read brings at most, with room for another loop's way.
READ = 256 << 10


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


def upload(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(HEAD % SIZE)
        for _ in range(SIZE >> 20):
            connection.sendall(b" " * (1 << 20))
        connection.recv(64)


async def test_a_turn_of_the_loop_reads_one_piece_of_each_upload() -> None:
    """It read up to 8 MiB of each, and again before anybody was answered: 0.3 s of CPU stood before a small request."""
    limits = HttpLimits(max_body_size=SIZE, max_buffered=2 * UPLOADS * SIZE, linger=0.1)
    async with serving(limits) as (server, _, _):
        threads = [threading.Thread(target=upload, args=(server.port,), daemon=True) for _ in range(UPLOADS)]
        for thread in threads:
            thread.start()
        turns: list[int] = []
        async with asyncio.timeout(60):
            while any(thread.is_alive() for thread in threads):
                before = server.body_bytes
                await asyncio.sleep(0)
                turns.append(server.body_bytes - before)
                time.sleep(0.005)  # noqa: ASYNC251  (the clients fill the sockets meanwhile)
        assert 0 < max(turns) <= 2 * UPLOADS * READ


async def test_a_long_reply_is_written_in_pieces_and_whole(monkeypatch) -> None:
    """A client that reads as fast as it is written to took all of it in one turn of the loop."""
    pieces: list[int] = []
    real = Output.piece

    def piece(output: Output) -> memoryview | None:
        found = real(output)
        pieces.append(len(found or b""))
        return found

    monkeypatch.setattr(Output, "piece", piece)
    async with serving(HttpLimits(max_body_size=SIZE, linger=0.1)) as (server, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = bytes(range(256)) * (8 << 12)
        for close in (b"", b"Connection: close\r\n"):
            writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (close, len(body), body))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            assert body in await reader.readexactly(length)
        assert not await reader.read(), "the end comes behind the last piece"
        writer.close()
    assert max(pieces) == OUTPUT_PIECE
    assert server.body_bytes == 0
