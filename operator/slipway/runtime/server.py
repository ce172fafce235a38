"""Is this process alive, is it ready, and what does it measure? A small plain-HTTP server; started by main.

/healthz  200 while the event loop turns and the watches are heard of; the kubelet restarts us otherwise
/readyz   200 while leading or standing by with a warm cache
/metrics  Prometheus' text format

Probes answer from memory: none of them asks the API server, so that its outage restarts nobody.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from .metrics import CONTENT_TYPE

TICK = 1.0
MAX_LOOP_LAG = 5.0


class Health:
    """What the probes know. `state` is set by main: "starting", "standby", "leading" or "stopping"."""

    def __init__(
        self,
        heard_at: Callable[[], float],
        *,
        silence_limit: float = 900.0,
        observe_lag: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`heard_at`: the monotonic time of the last event or LIST (`cache.heard_at`), at most `silence_limit` ago.

        The limit has to exceed the interval of resyncs several times: a quiet cluster sends no events.
        """
        self.state = "starting"
        self._heard_at = heard_at
        self._silence_limit = silence_limit
        self._observe_lag = observe_lag
        self._ticked_at: float | None = None

    async def tick(self) -> None:
        """Measure for ever how late the loop is."""
        loop = asyncio.get_running_loop()
        while True:
            self._ticked_at = loop.time()
            await asyncio.sleep(TICK)
            self._observe_lag(max(0.0, loop.time() - self._ticked_at - TICK))

    def complaints(self) -> list[str]:
        """Why this process should be restarted; empty if it should not."""
        now = asyncio.get_running_loop().time()
        result = []
        if self._ticked_at is not None and (lag := now - self._ticked_at - TICK) > MAX_LOOP_LAG:
            result.append(f"the event loop is {lag:.1f} s late")
        silence = now - self._heard_at()
        if self.state == "leading" and silence > self._silence_limit:
            result.append(f"no watch event and no LIST for {silence:.0f} s")
        return result


def health_app(health: Health, render_metrics: Callable[[], bytes]) -> web.Application:
    """The application behind the probes."""

    async def healthz(request: web.Request) -> web.Response:
        complaints = health.complaints()
        return web.Response(text="; ".join(complaints) or "ok", status=500 if complaints else 200)

    async def readyz(request: web.Request) -> web.Response:
        return web.Response(text=health.state, status=200 if health.state in ("leading", "standby") else 503)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=render_metrics(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def listening(
    app: web.Application, port: int, *, host: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port, which differs from the one asked for if that was 0."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
