"""An HTTP proxy between an operator and the API server that counts writes, and strikes at the one it is told.

The operator speaks plain HTTP to it; it speaks to the API server with the administrator's rights. `strike` is called
after the API server has done the write and before the operator hears of it: what a crash can do at its worst.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import yaml
from aiohttp import web

from tests.cluster.rest import Client

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "content-encoding"}
_READS = {"GET", "HEAD", "OPTIONS"}


class WriteProxy:
    """Runs in a thread of its own. `writes` counts the requests that change something, but for leases."""

    def __init__(self, kubeconfig: Path) -> None:
        self._upstream = Client(kubeconfig)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._lock = threading.Lock()
        self.writes = 0
        self.log: list[str] = []
        self._strike_at: int | None = None
        self._strike: Callable[[], None] = lambda: None
        self.struck = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        server = {"name": "p", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "p", "context": {"cluster": "p", "user": "p"}}
        users = [{"name": "p", "user": {}}]
        config = {"clusters": [server], "contexts": [context], "users": users, "current-context": "p"}
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
        return path

    def arm(self, write: int | None, strike: Callable[[], None] = lambda: None) -> None:
        """Count from now on; call `strike` at write number `write` (from 1), once."""
        with self._lock:
            self.writes, self._strike_at, self._strike = 0, write, strike
            self.log.clear()
            self.struck.clear()

    async def _listen(self) -> int:
        connector = aiohttp.TCPConnector(ssl=self._upstream.tls, limit=200)
        base = f"{self._upstream.server.scheme}://{self._upstream.server.netloc}"
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(base, connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _close(self) -> None:
        # Watches under way end only when they are told to.
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        headers["Accept-Encoding"] = "identity"
        body = await request.read()
        async with self._session.request(request.method, request.rel_url, data=body or None, headers=headers) as answer:
            self._count(request, answer.status)
            out = web.StreamResponse(
                status=answer.status, headers={k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            )
            with contextlib.suppress(ConnectionError):
                await out.prepare(request)
                async for chunk in answer.content.iter_any():
                    await out.write(chunk)
                await out.write_eof()
            return out

    def _count(self, request: web.Request, status: int) -> None:
        if request.method in _READS or "/leases" in request.path:
            return
        with self._lock:
            self.writes += 1
            self.log.append(f"{request.method} {request.path} {status}")
            if self.writes != self._strike_at:
                return
            self._strike_at = None
        self._strike()
        self.struck.set()
