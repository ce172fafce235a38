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
