"""An activator in this process, replicas that come when a test says so, and clients that hide nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from workloads.activator.proxy import Limits
from workloads.activator.run import Activator, Settings

HOST = "127.0.0.1"
SETTINGS = Settings(HOST, 0, 0, HOST, 0, 0, 0, Limits(hold=20), lead=0, drain=5)
ASKED = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


_BOUND: list[socket.socket] = []


def free_port() -> int:
    """One that nobody listens on, for a replica that comes later, and that nobody else gets before."""
    found = socket.socket()
    # Bound and not listening it refuses clients, and who asks for reuse as well, as listeners do, may still listen.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, 0))
    _BOUND.append(found)
    return int(found.getsockname()[1])


@asynccontextmanager
async def activator(limits: Limits = SETTINGS.limits, **changes: float) -> AsyncIterator[Activator]:
    """In front of ports on which nobody listens yet."""
    ports = {"backend_http": free_port(), "backend_grpc": free_port()}
    it = Activator(replace(SETTINGS, limits=limits, **{**ports, **changes}))
    await it.start()
    try:
        yield it
    finally:
        await it.drain()


@asynccontextmanager
async def replica(port: int) -> AsyncIterator[list[bytes]]:
    """Answers each read of a connection with the same bytes, turned to capitals; gives what it has read."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            heard.append(data)
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HOST, port, backlog=1024)
    try:
        yield heard
    finally:
        server.close()


async def ask(port: int, words: bytes = ASKED) -> bytes:
    """Send, and return what comes back: as much as was sent, or all until the end."""
    reader, writer = await asyncio.open_connection(HOST, port)
    answer = b""
    try:
        writer.write(words)
        while len(answer) < len(words) and (data := await reader.read(2**16)):
            answer += data
    finally:
        writer.close()
    return answer


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what another task of this process brings about."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 (plain counters, that nobody announces)
            await asyncio.sleep(0.005)


async def page(port: int, path: str) -> tuple[int, str]:
    """GET one page of the control port."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body.decode()


async def together(count: int, work: Callable[[], Awaitable[bytes]]) -> list[bytes]:
    """The same, so many times at once."""
    return list(await asyncio.gather(*(work() for _ in range(count))))
