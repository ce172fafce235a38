"""Constant load on one address that counts every request that failed: connections are reused, nothing is tried again.

A client as others are: it leaves a connection on `Connection: close` or when the server has closed it, opens a new one
after some requests, so that new pods get their share, and takes anything but a 200 for a failure.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

REQUESTS_PER_CONNECTION = 10
PATIENCE = 20.0


class Load:
    """`connections` clients that each send `rate` requests a second, until the end of the block."""

    def __init__(self, host: str, port: int, bodies: Sequence[bytes], connections: int = 8, rate: float = 10) -> None:
        self._target = (host, port)
        self._bodies = bodies
        self._connections = connections
        self._pause = 1 / rate
        self._over = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.phase = "start"
        self.sent: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()

    def report(self) -> str:
        """For people."""
        failed = Counter(failure.split(":")[0] for failure in self.failures)
        lines = [f"{phase}: {count} requests, {failed.get(phase, 0)} failed" for phase, count in self.sent.items()]
        return "\n".join([*lines, f"slowest {self.slowest:.3f} s", *self.failures[:20]])

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._connections)))

    async def _client(self, number: int) -> None:
        count = number
        while not self._over:
            connection = None
            try:
                async with asyncio.timeout(PATIENCE):
                    connection = await asyncio.open_connection(*self._target)
                for _ in range(REQUESTS_PER_CONNECTION):
                    if connection[0].at_eof() or self._over:
                        break
                    count += 1
                    if not await self._one(*connection, self._bodies[count % len(self._bodies)]):
                        break
                    await asyncio.sleep(self._pause)
            except (OSError, TimeoutError) as error:
                self._failed(f"connect: {error!r}")
                await asyncio.sleep(self._pause)
            finally:
                if connection is not None:
                    connection[1].close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bool:
        """One request; whether the connection can be used again."""
        self.sent[self.phase] += 1
        started = time.monotonic()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(head.encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(answer.split("content-length:")[1].split("\r\n")[0])
                text = await reader.readexactly(length)
        except (OSError, EOFError, TimeoutError) as error:
            self._failed(f"{error!r}")
            return False
        self.slowest = max(self.slowest, time.monotonic() - started)
        if not answer.startswith("http/1.1 200"):
            self._failed(f"{answer.splitlines()[0]} {text[:200]!r}")
        return "connection: close" not in answer

    def _failed(self, words: str) -> None:
        self.failures.append(f"{self.phase}: {words}")
