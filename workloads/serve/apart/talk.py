"""The server's end of a socket to a process of its own: frames out and in.

Small ones on the event loop, large ones on a thread, which copies them without the interpreter.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from workloads.serve.apart.wire import LENGTHS
from workloads.serve.http.message import Buffer

BUFFER = 1 << 20
SMALL = 64 << 10  # bytes that are copied rather than waited for once more: each wait is a turn of the loop
LONGEST_HEAD = 1 << 20  # of a process that is not trusted


async def send(connection: socket.socket, said: dict[str, Any], parts: "Sequence[Buffer]") -> None:
    """Send one frame."""
    loop, head = asyncio.get_running_loop(), orjson.dumps(said)
    size = sum(map(len, parts))
    begin = LENGTHS.pack(len(head), size) + head
    if size <= SMALL:
        await loop.sock_sendall(connection, b"".join((begin, *parts)))
        return
    await loop.sock_sendall(connection, begin)
    for part in parts:
        await loop.sock_sendall(connection, part)


def say(connection: socket.socket, said: dict[str, Any], parts: "Sequence[Buffer]") -> None:
    """Send one frame, on a thread."""
    head = orjson.dumps(said)
    connection.sendall(LENGTHS.pack(len(head), sum(map(len, parts))) + head)
    for part in parts:
        connection.sendall(part)


def hear(connection: socket.socket) -> tuple[dict[str, Any], memoryview]:
    """The next frame, on a thread. EOFError at the stream's end."""
    head, body = LENGTHS.unpack(_all(connection, LENGTHS.size))
    return orjson.loads(_all(connection, head)), _all(connection, body)


def _all(connection: socket.socket, size: int) -> memoryview:
    buffer = np.empty(size, dtype=np.uint8).data
    place = 0
    while place < size:
        got = connection.recv_into(buffer[place:], 0, socket.MSG_WAITALL)
        if not got:
            raise EOFError
        place += got
    return buffer


async def receive(connection: socket.socket, most: int = 0) -> tuple[dict[str, Any], memoryview]:
    """The next frame. EOFError at the stream's end; ValueError for one of more than `most` bytes
    behind its head, 0: of any size.
    """
    head, body = LENGTHS.unpack(await _exactly(connection, LENGTHS.size))
    if most and (head > LONGEST_HEAD or body > most):
        raise ValueError(f"a frame of {head + body} bytes")
    if head + body <= SMALL:
        whole = await _exactly(connection, head + body)
        # Numbers begin where the processor likes to read them, not behind so many letters.
        return orjson.loads(whole[:head]), np.frombuffer(whole[head:], dtype=np.uint8).copy().data
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
