"""Plain HTTP server for probes and metrics: health and readiness of the process, and its figures. Started by main.

/healthz  200 while the event loop turns and the watches are heard of; the kubelet restarts us otherwise
/readyz   200 while leading or standing by with a warm cache
/metrics  Prometheus' text format

Probes answer from memory: none of them asks the API server, so that its outage restarts nobody.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from slipway.runtime.connections.accept import Acceptor, open_socket
from slipway.runtime.connections.limits import Limits
from slipway.runtime.metrics import CONTENT_TYPE

log = logging.getLogger(__name__)

TICK = 1.0
MAX_LOOP_LAG = 5.0
PAGE_SHARE = 0.1
"""Of the loop's time, for making pages of metrics: whoever asks more often gets the last one again."""

LIMITS = Limits()
PROBES = Limits(total=64, per_peer=8, per_second=10.0, burst=50.0, loop_share=0.1, most_bytes=16 * 1024)
"""The kubelet asks from an address of its own, every few seconds: it goes before whoever floods."""


class Health:
    """State that the probes show. `state` is set by main: "starting", "standby", "leading" or "stopping"."""

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
        """Reasons why this process should be restarted; empty if it should not."""
        now = asyncio.get_running_loop().time()
        result = []
        if self._ticked_at is not None and (lag := now - self._ticked_at - TICK) > MAX_LOOP_LAG:
            result.append(f"the event loop is {lag:.1f} s late")
        silence = now - self._heard_at()
        if self.state == "leading" and silence > self._silence_limit:
            result.append(f"no watch event and no LIST for {silence:.0f} s")
        return result


def health_app(health: Health, page: Callable[[], bytes] | None) -> web.Application:
    """The application behind the probes; `page` gives the metrics, None where they are not for everybody."""

    async def healthz(request: web.Request) -> web.Response:
        complaints = health.complaints()
        return web.Response(text="; ".join(complaints) or "ok", status=500 if complaints else 200)

    async def readyz(request: web.Request) -> web.Response:
        return web.Response(text=health.state, status=200 if health.state in ("leading", "standby") else 503)

    async def metrics(request: web.Request) -> web.Response:
        if page is None:
            return web.Response(text="metrics are served over TLS, to those who may read them", status=404)
        return web.Response(body=page(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


class MetricsText:
    """The metrics' text, made no more often than its cost allows."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render
        self._text = b""
        self._good_until = 0.0

    def get(self) -> bytes:
        """The text, at most a moment old."""
        started = time.monotonic()
        if started >= self._good_until:
            self._text = self._render()
            ended = time.monotonic()
            self._good_until = ended + (ended - started) / PAGE_SHARE
        return self._text


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's log without what a client did wrong: a line for each such request would fill a disk."""

    def exception(self, msg: object, *args: object, exc_info: object = True, **kwargs: object) -> None:
        if not isinstance(exc_info, HttpProcessingError):
            self.logger.error(msg, *args, exc_info=exc_info)  # type: ignore[arg-type]


@asynccontextmanager
async def listening(
    app: web.Application,
    port: int,
    *,
    host: str | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits = LIMITS,
    ended: Callable[[str], None] = lambda reason: None,
) -> AsyncIterator[int]:
    """Serve until the block ends, one request a connection; gives the port, which differs from the one asked for if
    that was 0. `ended` hears why a connection was refused or cut off.
    """
    app.on_response_prepare.append(_last)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_Quiet(log, {}),
        shutdown_timeout=2.0,
        handle_signals=False,
        # Else what a peer asked for would be worked on after it has gone, without a limit on how many that are.
        handler_cancellation=True,
        # A small body that is large once unpacked is nobody's progress.
        auto_decompress=False,
        keepalive_timeout=limits.seconds,
        lingering_time=2.0,
        read_bufsize=16 * 1024,
    )
    await runner.setup()
    acceptor = None
    try:
        opened = open_socket(host, port)
        acceptor = Acceptor(opened, cast("web.Server", runner.server), limits, tls=tls, ended=ended)
        yield int(opened.getsockname()[1])
    finally:
        if acceptor is not None:
            acceptor.close()
        await runner.cleanup()


async def _last(request: web.Request, response: web.StreamResponse) -> None:
    """A connection that may ask again may also wait, trickle and pipeline; posts and probes come seconds apart."""
    response.force_close()
    response.headers["Connection"] = "close"
