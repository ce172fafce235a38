"""Accept connections within limits and hand them to an HTTP server. Used by `server.listening`.

The limits are looked at between accept() and the TLS handshake: who is refused has cost microseconds and no memory. Who
is let in has one deadline for all that it does (handshake, head, body, reading the answer) and one number of bytes
that it may send, counted on the wire, so that it does not matter in which layer a peer is slow or talkative.

asyncio gives each TLS connection a buffer of 256 KiB and accepts without end; so both are done here.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import struct
import time
from asyncio import sslproto
from collections.abc import Callable
from typing import Any, cast

from slipway.runtime.connections.limits import Limits, Reason, Table
from slipway.runtime.rate import Budget

log = logging.getLogger(__name__)

BACKLOG = 256
BATCH = 64
"""Connections accepted in one go: a flood of them must not keep the loop from its other work."""
KERNEL_BYTES = 16 * 1024
"""What the kernel keeps of one connection in each direction; it counts as the process' own memory in a cgroup."""
TLS_BYTES = 16 * 1024
COMPLAINT_SECONDS = 60.0
BUSY_SECONDS = 0.05
EXHAUSTED_SECONDS = 0.5

_RESET = struct.pack("ii", 1, 0)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def open_socket(host: str | None, port: int) -> socket.socket:
    """A listening socket; without a host on all addresses, IPv6 and IPv4. Raises OSError."""
    if host is None and socket.has_dualstack_ipv6():
        opened = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    else:
        family = socket.AF_INET6 if host and ":" in host else socket.AF_INET
        opened = socket.create_server((host or "0.0.0.0", port), family=family, backlog=BACKLOG)  # noqa: S104
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)  # those accepted inherit it
    opened.setblocking(False)
    return opened


class Acceptor:
    """Accepts on one socket until `close`."""

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[], asyncio.Protocol],
        limits: Limits,
        *,
        tls: ssl.SSLContext | None = None,
        ended: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`serve` makes the HTTP side of a connection; `ended` hears why one was refused or cut off."""
        self.limits = limits
        self.table: Table[Connection] = Table(limits)
        self.loop = asyncio.get_running_loop()
        self._socket = listening
        self._serve = serve
        self._tls = tls
        self._ended = ended
        self._accepting = Budget(limits.accept_share, limits.accept_share)
        self._complained: dict[Reason, float] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self.loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Accept no more; what is open stays so."""
        self.loop.remove_reader(self._socket)
        self._socket.close()

    def cut(self, peer: str, reason: Reason) -> None:
        """Count a connection that was refused or cut off, and tell of it once in a while."""
        self._ended(reason)
        now = time.monotonic()
        if now - self._complained.get(reason, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._complained[reason] = now
            log.warning("connections cut off: %s, lately one from %s; counted in the metrics", reason, peer)

    def _accept(self) -> None:
        started = time.thread_time()
        self._accept_some()
        self._accepting.spend(time.thread_time() - started)
        if self._accepting.level < 0:
            self._pause(BUSY_SECONDS)

    def _accept_some(self) -> None:
        for _ in range(BATCH):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                # The socket stays readable: to try at once again would use up the loop.
                log.error("no connection can be accepted: %s", error)
                self._pause(EXHAUSTED_SECONDS)
                return
            self._admit(accepted, str(address[0]).removeprefix("::ffff:"))

    def _pause(self, seconds: float) -> None:
        if self.loop.remove_reader(self._socket):
            self.loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self.loop.add_reader(self._socket, self._accept)

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        verdict = self.table.admit(peer)
        if verdict.refused is not None:
            # A reset leaves nothing behind, where a polite end would have the kernel wait for the peer's.
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            accepted.close()
            self.cut(peer, verdict.refused)
            return
        if verdict.ousted is not None and verdict.why is not None:
            verdict.ousted.abort(verdict.why)
        accepted.setblocking(False)
        connection = Connection(self, peer)
        self.table.enter(peer, connection)
        try:
            connection.prepare(self._serve, self._tls)
        except BaseException:
            # Raised again: whatever it was, the place in the table and the descriptor are given back first.
            connection.connection_lost(None)
            accepted.close()
            raise
        task = self.loop.create_task(self._open(accepted, connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket, connection: Connection) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            connection.connection_lost(None)


class _Tls(sslproto.SSLProtocol):
    """asyncio's own, with a buffer for one record."""

    max_size = TLS_BYTES


class _Later(asyncio.Protocol):
    """Makes the HTTP side once the handshake is done: who never gets there has not cost it."""

    def __init__(self, serve: Callable[[], asyncio.Protocol]) -> None:
        self._serve = serve

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        http = self._serve()
        transport.set_protocol(http)
        http.connection_made(transport)


class Connection(asyncio.BufferedProtocol):
    """Stands between the socket and what reads it (TLS, or HTTP at once): counts, takes time, and ends it."""

    def __init__(self, acceptor: Acceptor, peer: str) -> None:
        self._acceptor = acceptor
        self._peer = peer
        self._left = acceptor.limits.most_bytes
        self._inner: Any = None
        self._buffer: memoryview | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._aborted = False

    def prepare(self, serve: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None) -> None:
        """Make the inner side and start the time limit, once the connection is let in."""
        loop, seconds = self._acceptor.loop, self._acceptor.limits.seconds
        if tls is None:
            self._inner = serve()
            self._buffer = memoryview(bytearray(TLS_BYTES))
        else:
            nobody: Any = None  # waits for the handshake
            self._inner = _Tls(
                loop, _Later(serve), tls, nobody, server_side=True, ssl_handshake_timeout=int(seconds) + 1
            )
        self._deadline = loop.call_later(seconds, self.abort, Reason.SECONDS)

    def abort(self, reason: Reason) -> None:
        """Cut it off; what was not sent yet is lost."""
        self._aborted = True
        self._acceptor.cut(self._peer, reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the inner side, or cut off a connection that was refused meanwhile."""
        self._transport = cast("asyncio.Transport", transport)
        if self._aborted:
            self._transport.abort()
            return
        started = time.thread_time()
        self._inner.connection_made(transport)
        self._acceptor.table.spend(time.thread_time() - started)

    def get_buffer(self, sizehint: int) -> Any:
        """TLS' own buffer, or ours."""
        return self._inner.get_buffer(sizehint) if self._buffer is None else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came: they are counted before anybody reads them."""
        if self._aborted:
            return
        self._left -= nbytes
        if self._left < 0:
            self.abort(Reason.BYTES)
            return
        started = time.thread_time()
        if self._buffer is None:
            self._inner.buffer_updated(nbytes)
        else:
            self._inner.data_received(bytes(self._buffer[:nbytes]))
        self._acceptor.table.spend(time.thread_time() - started)

    def eof_received(self) -> bool | None:
        """Pass on that the peer sends no more; the inner side decides whether to stay open."""
        return bool(self._inner.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place, whatever ended it."""
        self._acceptor.table.leave(self._peer, self)
        if self._deadline is not None:
            self._deadline.cancel()
        inner, self._inner, self._buffer = self._inner, None, None
        if inner is not None and self._transport is not None:
            inner.connection_lost(exc)
        self._transport = None

    def pause_writing(self) -> None:
        """Pass on that the peer does not read."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer reads again."""
        self._inner.resume_writing()
