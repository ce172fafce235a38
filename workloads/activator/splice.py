"""Carries bytes both ways between a client and a replica until both have said all. Used by the proxy."""

import asyncio
import contextlib
from collections.abc import Callable

from workloads.activator.backend import Streams

CHUNK = 2**16
# For a client to read the last words: closing at once would take them back where it still sends.
LINGER = 5.0


async def splice(client: Streams, replica: Streams, heard: Callable[[bytes], None]) -> None:
    """Returns when it is over. `heard` is called when the client sends something."""
    up = asyncio.create_task(_pump(client[0], replica[1], heard))
    down = asyncio.create_task(_pump(replica[0], client[1], _nothing))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if up.done() and up.exception() is None:
            # The client has said all, and still listens; one that is gone is told to the replica by this as well.
            await asyncio.wait((down,))
        if down.done() and down.exception() is None:
            # Whatever the client sends from here on, nobody would answer it.
            await _ended(up)
            await linger(client)
    finally:
        await _ended(up, down)
        for _, writer in (client, replica):
            writer.transport.abort() if _failed(up, down) else writer.close()


async def linger(client: Streams) -> None:
    """Say that nothing more will come, and take what the client still sends until it closes as well."""
    reader, writer = client
    with contextlib.suppress(OSError):
        async with asyncio.timeout(LINGER):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(CHUNK):
                pass


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[bytes], None]) -> None:
    while data := await reader.read(CHUNK):
        moved(data)
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _ended(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _failed(*tasks: "asyncio.Task[None]") -> bool:
    return any(not task.cancelled() and task.exception() is not None for task in tasks)


def _nothing(_data: bytes) -> None:
    return None
