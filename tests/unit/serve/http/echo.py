"""An HTTP server that echoes, and a client that hides nothing: for tests of connections without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from workloads.serve.errors import Invalid, QueueFull
from workloads.serve.http import HttpLimits, HttpServer, Reply, Request

QUICK = HttpLimits(
    max_body_size=1000,
    max_buffered=3000,
    max_connections=4,
    head_timeout=0.2,
    slowest=1e6,
    stall_timeout=0.2,
    half_closed=0.2,
    idle_timeout=0.3,
    write_timeout=0.3,
    linger=0.2,
    farewell=0.2,
    sweep=0.02,
)


class Later:
    """A reply that comes when the test says so."""

    def __init__(self, body: bytes) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.body = body
        self.abandoned = False

    def finish(self) -> Reply:
        self.future.result()
        return Reply(200, (self.body,))

    def abandon(self) -> None:
        self.abandoned = True
        self.future.cancel()


class Echo:
    """Answers at once with method, path and body; `/later` when told, `/large` with more than any buffer holds."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.pending: list[Later] = []

    def __call__(self, request: Request) -> Reply | Later:
        self.requests.append(request)
        if request.path == b"/later":
            self.pending.append(Later(request.body))
            return self.pending[-1]
        if request.path == b"/large":
            return Reply(200, (b"x" * (32 << 20),))
        if request.path == b"/invalid":
            raise Invalid("no")
        if request.path == b"/full":
            raise QueueFull("full", 7)
        if request.path == b"/bug":
            raise KeyError("a bug")
        return Reply(200, (request.method, b" ", request.path, b" ", memoryview(request.body)))


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        lines = head.split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if line)}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", "0"))), 5)
        return int(lines[0].split()[1]), headers, body

    async def end(self) -> bytes:
        """Everything until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 5)


@asynccontextmanager
async def serving(limits: HttpLimits = QUICK) -> AsyncIterator[tuple[HttpServer, Echo, Callable[[], object]]]:
    echo = Echo()
    server = HttpServer(echo, limits)
    port = await server.start("127.0.0.1", 0)
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
        return clients[-1]

    yield server, echo, connect
    for client in clients:
        client.writer.close()
    await server.finish(1)
    assert server.body_bytes == 0, "bytes of requests were not given back"


POST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
