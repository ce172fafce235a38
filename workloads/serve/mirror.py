"""Copies of requests for another server, whose answers nobody waits for: what a canary sees before it gets any traffic.

Made by run.py, asked by app.py and the gRPC server for each inference. Where the copies go is in a file that is read
again and again, because the pods must not start anew for it. A request is never slower or worse for its copy: copies
are made after nothing but a comparison, so many at a time, and dropped beyond that. A copy is never copied.
"""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from workloads.serve.http import Request
from workloads.serve.http.message import COPY

LOG = logging.getLogger("slipway.serve.mirror")

# The kubelet itself takes a minute to bring a changed ConfigMap.
LOOK_SECONDS = 2.0
# Under way at a time, and the memory that their bodies hold.
MOST = 32
MOST_BYTES = 64 << 20
PIECE = 64 << 10  # that is written in a turn of the loop
COPY_SECONDS = 10.0
MOST_HEARD = 4 << 20  # bytes of a reply that are kept
PORTS = {"http": 80, "https": 443}
CARRIED = frozenset(
    {b"accept", b"content-encoding", b"content-type", b"inference-header-content-length", b"x-request-id"}
)
# To whom has to know them, and to nobody else: what clients send there may be a secret of somebody before this server.
KEYS = frozenset({b"authorization", b"x-api-key"})


@dataclass(frozen=True)
class Target:
    """Destination of copies, and the percentage of requests that are copied.

    `keys`: that server asks clients for theirs. `sealed`: it speaks TLS. `scores`: it shall also say how likely
    it finds a language model's answers.
    """

    host: str
    port: int
    percent: int
    keys: bool = False
    sealed: bool = False
    scores: bool = False


def read_target(place: Path) -> Target | None:
    """`{"url": "http://host:port", "percent": 20, "keys": true}`, the last where that server asks for keys.

    None without the file. ValueError when it makes no sense.
    """
    try:
        said = orjson.loads(place.read_bytes())
    except OSError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("url"), str) or not isinstance(said.get("percent"), int):
        raise ValueError("it needs a url and a percent")
    parts = urlsplit(said["url"])
    if parts.scheme not in PORTS or not parts.hostname or not 0 <= said["percent"] <= 100:
        raise ValueError("its url begins with http:// or https://, its percent is from 0 to 100")
    port = parts.port or PORTS[parts.scheme]
    keys, scores = said.get("keys") is True, said.get("scores") is True
    return Target(parts.hostname, port, said["percent"], keys, parts.scheme == "https", scores)


class Mirror:
    """`outcomes` counts copies: sent, failed, dropped."""

    def __init__(
        self,
        place: Path,
        outcomes: Counter[str],
        look_seconds: float = LOOK_SECONDS,
        trust: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`trust`: whom to believe that it is the other server; anybody where this one speaks in the open itself."""
        self._trust = trust or anybody
        self._place = place
        self._outcomes = outcomes
        self._pause = look_seconds
        self._target: Target | None = None
        self._due = 0
        self._bytes = 0
        self._copies: set[asyncio.Task[None]] = set()

    async def follow(self) -> None:
        """Read the file again and again, for ever."""
        while True:
            try:
                target = read_target(self._place)
            except ValueError as error:
                LOG.warning("%s is not followed: %s", self._place, error)
                target = None
            if target != self._target:
                LOG.info("copies of requests: %s", target or "none")
                self._target = target
            await asyncio.sleep(self._pause)

    @property
    def target(self) -> Target | None:
        """Destination of copies; None where nothing is copied."""
        return self._target

    def ask(self, request: Request, heard: Callable[[bytes], None]) -> None:
        """Ask the other server a question of our own; `heard` gets the body of its reply, if there is one."""
        target = self._target
        if target is None or len(self._copies) >= MOST or self._bytes + request.size > MOST_BYTES:
            self._outcomes["dropped"] += 1
            return
        self._bytes += request.size
        self._keep(self._send(target, request, request.size, heard))

    def offer(self, request: Request) -> None:
        """A request over HTTP that is about to be served."""
        if COPY not in request.headers:
            self.offer_as(lambda: request)

    def offer_as(self, make: Callable[[], Request]) -> None:
        """One that came in another form: `make` is called if it is to be copied."""
        target = self._target
        if target is None:
            return
        self._due += target.percent
        if self._due < 100:
            return
        self._due -= 100
        request = make() if len(self._copies) < MOST else None
        # Its body may be inflated in place meanwhile.
        size = request.size if request is not None else 0
        if request is None or self._bytes + size > MOST_BYTES:
            self._outcomes["dropped"] += 1
            return
        self._bytes += size
        self._keep(self._send(target, request, size))

    def _keep(self, sending: Coroutine[Any, Any, None]) -> None:
        copy = asyncio.get_running_loop().create_task(sending)
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)

    async def _send(
        self, target: Target, request: Request, size: int, heard: Callable[[bytes], None] | None = None
    ) -> None:
        outcome = "failed"
        try:
            async with asyncio.timeout(COPY_SECONDS):
                reply = await _exchange(target, request, self._trust() if target.sealed else None)
            outcome = "sent"
            if heard is not None:
                heard(reply)
        except (OSError, TimeoutError) as error:
            LOG.debug("a copy was lost: %s", error)
        finally:
            self._bytes -= size
            self._outcomes[outcome] += 1


@cache
def anybody() -> ssl.SSLContext:
    """TLS context that trusts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _exchange(target: Target, request: Request, seal: ssl.SSLContext | None) -> bytes:
    """A connection of its own: the Service behind the address spreads connections over pods, not requests.

    Returns the beginning of the reply's body, as it was sent.
    """
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=seal)
    try:
        carried = CARRIED | KEYS if target.keys else CARRIED
        kept = b"".join(b"%b: %b\r\n" % (name, value) for name, value in request.headers.items() if name in carried)
        where = request.path + (b"?" + request.query if request.query else b"")
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n%b: %b\r\n%bContent-Length: %d\r\n\r\n"
        kind = request.headers.get(COPY, b"1")
        writer.write(head % (request.method, where, target.host.encode(), COPY, kind, kept, request.size))
        for part in request.parts:
            for place in range(0, len(part), PIECE):
                writer.write(part[place : place + PIECE])
                await writer.drain()
        said = b""
        while part := await reader.read(1 << 16):
            said += part if len(said) < MOST_HEARD else b""
        return said.partition(b"\r\n\r\n")[2]
    finally:
        writer.transport.abort()
