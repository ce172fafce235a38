"""Ask pods what they know: a few short HTTP GETs in the background, of which a reconcile only sees the results.

No reconcile waits for a pod: it asks, goes on with what it knows, and its key is marked when the answers are there.

Pods run images of strangers, so whatever one sends costs a bounded time of the loop and bounded memory: bytes are
counted on the wire and taken in small pieces, one piece of all scrapes in a turn of the loop; what is read out of a
page is kept, and the page is not. No answer leads anywhere else (a redirect is an answer like another), and nothing is
unpacked.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import h11

from slipway.runtime.conditions import shorten
from slipway.runtime.scraping.pod_connection import TlsWire, Wire

log = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST = 2**18
"""Bytes of an answer's body: a pod that says more is not believed."""
LARGEST_HEAD = 2**13
# Beside the body: the head, and what chunks cost.
FRAMING = 2**16
# Bytes taken in one turn of the loop.
PIECE = 2**12
# Characters of why there is no answer.
LONGEST_WORDS = 256
# Chunks and interim answers, which cost more than the bytes in them.
MOST_PARTS = 2**12


@dataclass(frozen=True, slots=True)
class ScrapeResult(Generic[T]):
    """Result of one URL: what was read out of its answer, or why there is nothing."""

    said: T | None = None
    error: str = ""


Read = Callable[[bytes], T]
"""Reads a body in a bounded time; raises ValueError with words for the owner of the pod."""
Answered = Callable[[Mapping[str, ScrapeResult[T]]], None]


class Scraper:
    """Client for pods' pages; one per process, used in one event loop."""

    def __init__(
        self, *, timeout: float = 3.0, concurrency: int = 256, share: int | None = 8, largest: int = LARGEST
    ) -> None:
        """`timeout` in seconds for each GET; `share`: of the GETs at once, those of one namespace; None for all.

        `largest` in bytes.
        """
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        self._share = concurrency if share is None else share
        self._shares: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()
        self._largest = largest
        self._turn = asyncio.Lock()
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def ask(
        self,
        key: Hashable,
        namespace: str,
        urls: Mapping[str, str],
        read: Read[T],
        answered: Answered[T],
        headers: Mapping[str, str] | None = None,
    ) -> bool:
        """GET each URL; `answered` hears of all of them by the same names. False while this key's last is under way.

        `headers`: further ones, which every URL's server may know.
        """
        if key in self._tasks:
            return False
        task = asyncio.create_task(self._all(namespace, urls, read, answered, headers or {}), name=f"scrape {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return True

    async def close(self) -> None:
        """Drop what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _all(
        self,
        namespace: str,
        urls: Mapping[str, str],
        read: Read[T],
        answered: Answered[T],
        headers: Mapping[str, str],
    ) -> None:
        pages = await asyncio.gather(*(self._page(namespace, url, read, headers) for url in urls.values()))
        answered(dict(zip(urls, pages, strict=True)))

    async def _page(self, namespace: str, url: str, read: Read[T], headers: Mapping[str, str]) -> ScrapeResult[T]:
        async with self._slot(namespace):
            try:
                async with asyncio.timeout(self._timeout):
                    body = await self._get(url, headers)
            except TimeoutError:
                return ScrapeResult(error=f"no whole answer within {self._timeout:g} s")
            except (ValueError, OSError, h11.RemoteProtocolError) as error:
                # The library quotes what it was sent.
                return ScrapeResult(error=shorten(str(error) or type(error).__name__, LONGEST_WORDS))
            async with self._turn:
                await asyncio.sleep(0)
                try:
                    return ScrapeResult(read(body))
                except ValueError as error:
                    return ScrapeResult(error=shorten(str(error), LONGEST_WORDS))
                except Exception as error:
                    # Whoever waits for the answer must hear of one.
                    log.exception("an answer of %s cannot be read", url)
                    return ScrapeResult(error=type(error).__name__)

    @asynccontextmanager
    async def _slot(self, namespace: str) -> AsyncIterator[None]:
        """Hold a place of this namespace and one of all: pods that keep everybody waiting hold up only their own."""
        self._users[namespace] += 1
        try:
            async with self._shares.setdefault(namespace, asyncio.Semaphore(self._share)), self._slots:
                yield
        finally:
            self._users[namespace] -= 1
            if not self._users[namespace]:
                del self._users[namespace], self._shares[namespace]

    async def _get(self, url: str, more: Mapping[str, str]) -> bytes:
        """The body. Raises ValueError for one that is too large, or an error."""
        parts, loop = urlsplit(url), asyncio.get_running_loop()
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, (host, port))
            wire = TlsWire(connection) if parts.scheme == "https" else Wire(connection)
            await wire.begin()
            parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
            headers = [("Host", parts.netloc), ("Connection", "close"), ("Accept-Encoding", "identity"), *more.items()]
            asked = parser.send(h11.Request(method="GET", target=parts.path or "/", headers=headers))
            await wire.send((asked or b"") + (parser.send(h11.EndOfMessage()) or b""))
            return await self._body(wire, parser)

    async def _body(self, wire: Wire, parser: Any) -> bytes:
        answer = _Answer(self._largest)
        while not answer.ended:
            piece = await wire.receive(PIECE)
            async with self._turn:
                answer.take(parser, piece)
                # Without it, whoever sends faster than this reads would never let the loop go.
                await asyncio.sleep(0)
        return bytes(answer.body)


class _Answer:
    """An answer as far as it has come."""

    def __init__(self, largest: int) -> None:
        self.body = bytearray()
        self.ended = False
        self._largest = largest
        self._bytes = 0
        self._parts = 0

    def take(self, parser: Any, piece: bytes) -> None:
        """Take in what came; empty for the end of the connection. Raises ValueError, h11.RemoteProtocolError."""
        self._bytes += len(piece)
        if self._bytes > self._largest + FRAMING:
            raise ValueError(self._too_large)
        parser.receive_data(piece)
        while (event := parser.next_event()) is not h11.NEED_DATA:
            self._parts += 1
            if self._parts > MOST_PARTS:
                raise ValueError(f"an answer in more than {MOST_PARTS} parts")
            if isinstance(event, h11.Response):
                _require_plain(event)
            elif isinstance(event, h11.Data):
                self.body += event.data
                if len(self.body) > self._largest:
                    raise ValueError(self._too_large)
            elif not isinstance(event, h11.InformationalResponse):
                self.ended = True
                return

    @property
    def _too_large(self) -> str:
        return f"more than {self._largest} bytes"


def _require_plain(answer: h11.Response) -> None:
    if answer.status_code != 200:
        raise ValueError(f"HTTP {answer.status_code}")
    packed = [value.decode("latin-1") for name, value in answer.headers if name == b"content-encoding"]
    if packed and packed != ["identity"]:
        raise ValueError(f"packed as {', '.join(packed)[:64]}, which nobody asked for")
