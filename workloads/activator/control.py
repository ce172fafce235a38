"""The port for kubelet, Prometheus and the operator: three GETs, answered by hand. Used by run.py.

/ready    200 while clients are taken
/metrics  Prometheus' text format
/demand   the same, but not before a client waits or sends something: so the operator hears of the first request at once
"""

import asyncio
import contextlib

from workloads.activator.request_tracker import RequestTracker

# An answer to /demand comes at the latest after so many seconds; operator/slipway/inferenceservice asks for longer.
LONGEST = 20.0
PATIENCE = 5.0
LINE = 2048


class Control:
    """Server of the control port: one per process. `ready` is set by whoever runs the proxies."""

    def __init__(self, tracker: RequestTracker) -> None:
        self._demand = tracker
        self._server: asyncio.Server | None = None
        self.port = 0
        self.ready = False

    async def start(self, host: str | None, port: int) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._answer, host, port, limit=LINE)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening, without waiting for requests that are being answered."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A line that is too long or never ends, and a client that goes away, are not worth a word.
        with contextlib.suppress(OSError, ValueError, EOFError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
            status, body = await self._page(head.split(b" ", 2)[1].decode())
            kind = "text/plain; version=0.0.4"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    async def _page(self, path: str) -> tuple[str, bytes]:
        if path == "/demand":
            await self._demand.until_heard(LONGEST)
        if path in ("/demand", "/metrics"):
            return "200 OK", self._demand.text()
        if path == "/ready":
            return ("200 OK", b"ready") if self.ready else ("503 Service Unavailable", b"leaving")
        return "404 Not Found", b"/ready, /metrics or /demand"
