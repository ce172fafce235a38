"""Listening sockets whose end loses nobody. Used by the server and by the activator.

asyncio's own server loses clients when it closes: one whose connection is accepted but whose transport is not yet made
is left hanging (the transport's constructor raises, the socket stays open), and those that only the kernel has taken
are reset. Here all of them are served.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

LOG = logging.getLogger("slipway.listener")

# Without one of these for a moment; the clients wait in the kernel meanwhile.
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SCARCE_SECONDS = 1.0
# A machine without IPv6, or without this address.
ELSEWHERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
# A client whose machine has vanished says nothing more: after a minute of silence it is asked, four times.
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


# Seconds for a TLS handshake, and how many are awaited at once: the oldest makes way, for most likely it is stalled.
HANDSHAKE_SECONDS = 10.0
HANDSHAKES = 512


class Listener:
    """Makes a protocol for every connection. `port` is known after `start`."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        backlog: int,
        seal: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`seal`: what the next connection speaks TLS with; none speaks it without."""
        self._seal = seal
        self.port = 0
        self._protocol = protocol
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._starting: dict[asyncio.Task[None], None] = {}

    async def start(self, host: str | None, port: int) -> None:
        """Listen on every address of `host`, on all of the machine's for None. Raises OSError."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        trouble: OSError | None = None
        for family, _, _, _, address in dict.fromkeys(found):
            # One port for all addresses, also where the system chooses it.
            wanted = (address[0], self.port or address[1], *address[2:])
            try:
                listening = socket.create_server(wanted, family=family, backlog=self._backlog)
            except OSError as error:
                if error.errno not in ELSEWHERE:
                    self._stop()
                    raise
                trouble = error
                continue
            listening.setblocking(False)
            self._sockets.append(listening)
            self.port = int(listening.getsockname()[1])
        if not self._sockets:
            raise trouble or OSError(f"{host} is no address to listen on")
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def close(self) -> None:
        """Take all whom the kernel has connected, then nobody any more; every protocol is made when this returns."""
        for listening in self._sockets:
            self._accept(listening)
        self._stop()
        if self._seal is not None and self._starting:
            # Those that answer are done in a moment; a stalled one has not asked anything.
            await asyncio.wait(self._starting, timeout=1.0)
            for stalled in list(self._starting):
                stalled.cancel()
        await asyncio.gather(*self._starting, return_exceptions=self._seal is not None)

    def _stop(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(self._backlog):
            try:
                connected, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in SCARCE:
                    raise
                LOG.warning("no connection can be taken for %g s: %s", SCARCE_SECONDS, error)
                self._loop.remove_reader(listening)
                self._loop.call_later(SCARCE_SECONDS, self._again, listening)
                return
            starting = self._loop.create_task(self._begin(connected))
            self._starting[starting] = None
            starting.add_done_callback(self._starting.pop)
            if self._seal is not None and len(self._starting) > HANDSHAKES:
                next(iter(self._starting)).cancel()

    def _again(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def _begin(self, connected: socket.socket) -> None:
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            if self._seal is None:
                await self._loop.connect_accepted_socket(self._protocol, connected)
            else:
                seal, most = self._seal(), HANDSHAKE_SECONDS
                await self._loop.connect_accepted_socket(
                    self._protocol, connected, ssl=seal, ssl_handshake_timeout=most, ssl_shutdown_timeout=most
                )
        except OSError as error:  # the client has gone meanwhile, or speaks something else
            LOG.debug("a connection that was only just made is gone: %s", error)
            connected.close()
