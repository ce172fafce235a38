"""A connection to a pod, plain or by TLS, read in small pieces. Used by the scraper.

Whose the certificate is does not matter: nothing that is asked is a secret, and what is told is believed no more than
if it came in the open. TLS is spoken because the pod speaks nothing else.
"""

import asyncio
import socket
import ssl
from functools import cache

# Of what the other end sends before its certificate is read.
LONGEST_HANDSHAKE = 2**17
RECORD = 2**14


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Wire:
    """Connection without TLS."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    async def begin(self) -> None:
        """Do nothing: without TLS there is no handshake."""

    async def send(self, data: bytes) -> None:
        """Send all bytes."""
        await self._loop.sock_sendall(self._connection, data)

    async def receive(self, most: int) -> bytes:
        """Receive at most so many bytes; none at the end."""
        return await self._loop.sock_recv(self._connection, most)


class TlsWire(Wire):
    """TLS connection, in memory: no more is read than is asked for. Raises OSError (ssl.SSLError) for what is none."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._in, self._out)

    async def begin(self) -> None:
        """Shake hands by TLS. Raises ValueError for a peer that sends more than LONGEST_HANDSHAKE bytes."""
        come = 0
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                come += await self._more()
            if come > LONGEST_HANDSHAKE:
                raise ValueError(f"a TLS handshake of more than {LONGEST_HANDSHAKE} bytes")
        await self._flush()

    async def send(self, data: bytes) -> None:
        """Encrypt and send all bytes."""
        self._tls.write(data)
        await self._flush()

    async def receive(self, most: int) -> bytes:
        """Receive at most so many bytes; none at the end. A record without content yields the loop like any other."""
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                await self._more()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def _more(self) -> int:
        await self._flush()
        piece = await super().receive(RECORD)
        if not piece:
            self._in.write_eof()
        self._in.write(piece)
        await asyncio.sleep(0)
        return len(piece)

    async def _flush(self) -> None:
        if self._out.pending:
            await super().send(self._out.read())
