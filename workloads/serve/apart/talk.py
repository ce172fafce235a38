"""The server's end of a socket to a process of its own: frames out and in, on the event loop."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from workloads.serve.apart.wire import LENGTHS
from workloads.serve.http.message import Buffer

BUFFER = 1 << 20
LONGEST_HEAD = 1 << 20  # of a process that is not trusted


async def send(connection: socket.socket, said: dict[str, Any], parts: "Sequence[Buffer]") -> None:
    """Send one frame."""
    loop, head = asyncio.get_running_loop(), orjson.dumps(said)
    await loop.sock_sendall(connection, LENGTHS.pack(len(head), sum(map(len, parts))) + head)
    for part in parts:
        await loop.sock_sendall(connection, part)


async def receive(connection: socket.socket, most: int = 0) -> tuple[dict[str, Any], memoryview]:
    """The next frame. EOFError at the stream's end; ValueError for one of more than `most` bytes
    behind its head, 0: of any size.
    """
    head, body = LENGTHS.unpack(await _exactly(connection, LENGTHS.size))
    if most and (head > LONGEST_HEAD or body > most):
        raise ValueError(f"a frame of {head + body} bytes")
    said = orjson.loads(await _exactly(connection, head))
    return said, await _exactly(connection, body)


async def _exactly(connection: socket.socket, size: int) -> memoryview:
    loop, buffer = asyncio.get_running_loop(), np.empty(size, dtype=np.uint8).data
    place = 0
    while place < size:
        got = await loop.sock_recv_into(connection, buffer[place:])
        if not got:
            raise EOFError
        place += got
    return buffer
