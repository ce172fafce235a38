"""One peer that takes as many connections as it can get, from an address of its own; `python -m tests.hostile.flood`.

Each of `--workers` opens a connection, goes as far as `--how` says, and holds it until it is thrown out; then it comes
again. `--rate` bounds the new connections of a second, since the attacker's CPU is here the victim's, too. When the
process ends by SIGTERM it prints what became of its connections as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.paths import REPOSITORY

PATH = "/apis/slipway.dev/v1alpha1/namespaces/n/trainingjobs/j/status"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\n"
FOR_EVER = 3600.0


class Flood:
    """Counts what became of the connections; `held` are open right now."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._trust.check_hostname, self._trust.verify_mode = False, ssl.CERT_NONE
        self._next = 0.0
        self.tally: Counter[str] = Counter()
        self.held = self.most = 0

    async def work(self) -> None:
        """One connection after the other, for ever."""
        act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = ACTS[self._options.how]
        while True:
            await self._turn()
            try:
                async with self._connection() as (reader, writer):
                    self.tally["connected"] += 1
                    await act(reader, writer)
                    self.tally["ended"] += 1
            except (OSError, asyncio.IncompleteReadError) as error:
                self.tally[type(error).__name__] += 1

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        tls = self._trust if self._options.how not in WITHOUT_TLS and not self._options.plain else None
        raw = socket.socket()
        raw.setblocking(False)
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            raw.bind((self._options.source, 0))
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self._options.port))
            reader, writer = await asyncio.open_connection(
                sock=raw, ssl=tls, server_hostname="x" if tls else None, limit=1024
            )
        except BaseException:
            # Raised again: whatever it was, the descriptor is given back first.
            raw.close()
            raise
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            yield reader, writer
        finally:
            self.held -= 1
            writer.transport.abort()

    async def _turn(self) -> None:
        """The moment for the next new connection."""
        loop = asyncio.get_running_loop()
        self._next = max(self._next, loop.time()) + 1 / self._options.rate
        await asyncio.sleep(self._next - loop.time())


async def _until_thrown_out(reader: asyncio.StreamReader) -> None:
    while await reader.read(1024):
        pass


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _until_thrown_out(reader)


async def _half_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    await _until_thrown_out(reader)


async def _half_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD.encode())
    await _until_thrown_out(reader)


async def _trickle(writer: asyncio.StreamWriter, text: bytes) -> None:
    for byte in text:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def _slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _trickle(writer, HEAD.encode())


async def _slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{HEAD}Content-Length: 60000\r\n\r\n".encode())
    await _trickle(writer, b" " * 60000)


async def _unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(4):
        writer.write(f"{HEAD}Content-Length: 2\r\n\r\n{{}}".encode() * 100)
        await writer.drain()
    await asyncio.sleep(FOR_EVER)


async def _large_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    number = 0
    while not reader.at_eof():
        writer.write(b"".join(f"h{number + i}: {'x' * 40}\r\n".encode() for i in range(100)))
        await writer.drain()
        number += 100
        await asyncio.sleep(0.01)


async def _handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{HEAD}Content-Length: 2\r\n\r\n{{}}".encode())
    await _until_thrown_out(reader)


async def _scrape(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await _until_thrown_out(reader)


ACTS: dict[str, Any] = {
    "silent": _silent,
    "half-hello": _half_hello,
    "half-head": _half_head,
    "slow-head": _slow_head,
    "large-head": _large_head,
    "slow-body": _slow_body,
    "unread": _unread,
    "handshake": _handshake,
    "connect": _handshake,
    "post": _post,
    "scrape": _scrape,
}
WITHOUT_TLS = ("silent", "half-hello", "connect")


@contextmanager
def flooding(how: str, port: int, source: str, **options: Any) -> Iterator[dict[str, Any]]:
    """A flood beside the caller; the dictionary is filled with its figures at its end."""
    words = [f"--{name}={value}" for name, value in options.items() if not isinstance(value, bool)]
    words += [f"--{name}" for name, value in options.items() if value is True]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.flood", f"--how={how}", f"--port={port}", f"--source={source}", *words],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"},
    )
    figures: dict[str, Any] = {}
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"flooding\n", "the flood did not start"
        yield figures
    finally:
        process.terminate()
        figures |= json.loads(process.communicate(timeout=60)[0] or b"{}")


async def run(options: argparse.Namespace) -> None:
    flood, stop = Flood(options), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    work = [asyncio.create_task(flood.work()) for _ in range(options.workers)]
    print("flooding", flush=True)
    await stop.wait()
    print(json.dumps({"how": options.how, "most": flood.most, **flood.tally}), flush=True)
    del work
    os._exit(0)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", choices=ACTS, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--source", default="127.0.0.2", help="this peer's address")
    parser.add_argument("--workers", type=int, default=2000, help="connections wanted at once")
    parser.add_argument("--rate", type=float, default=1000.0, help="new connections a second at most")
    parser.add_argument("--plain", action="store_true", help="a port without TLS")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(run(options_of()))
