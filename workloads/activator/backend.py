"""Connections to a ready replica, and the wait until there is one. Used by the proxy for each connection.

The address is that of a Service which selects ready replicas only: while there is none, connecting is refused.
"""

import asyncio
import contextlib

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# A refused connection to a Service without endpoints costs a packet.
PAUSE = 0.1
# Some networks drop the packet instead.
PATIENCE = 1.0
BUFFER = 2**15


class Backend:
    """Gate to the replicas: one per port of the service.

    However many clients wait, one probe asks whether somebody serves.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._probe: asyncio.Task[None] | None = None

    async def connect(self) -> Streams:
        """A connection to a ready replica, however long that takes."""
        while True:
            try:
                return await self._open()
            except OSError:  # TimeoutError and a name that is not known yet as well
                await self._reachable()

    async def close(self) -> None:
        """Stop asking."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe

    async def _open(self) -> Streams:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.open_connection(*self._target, limit=BUFFER)

    async def _reachable(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._until_open())
        # A client that goes away must not take the probe with it.
        await asyncio.shield(self._probe)

    async def _until_open(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(OSError):
                _, writer = await self._open()
                writer.close()
                return
