"""Front of a server, open before there is a model: the edge with its certificates, HTTP, and copies of requests.

Alike for both servers, of tensors and of texts; what each does behind it is in its run.py.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from workloads.serve.app import App
from workloads.serve.edge import Edge
from workloads.serve.edge.certificates import Certificates
from workloads.serve.http import HttpServer
from workloads.serve.mirror import Mirror
from workloads.serve.settings import Settings

LOG = logging.getLogger("slipway.serve")


@dataclass(frozen=True)
class Listening:
    """`sealed`: None where connections are not encrypted."""

    edge: Edge
    http: HttpServer
    sealed: Certificates | None


@contextlib.asynccontextmanager
async def listening(app: App, settings: Settings) -> AsyncIterator[Listening]:
    """Answer requests to `app`, which says itself that it is not ready, and follow the file of the mirror.

    At the end no more copies are sent and the log is closed; connections are the caller's to finish. Raises OSError
    where the port is taken.
    """
    edge = Edge(app, settings.edge)
    sealed = Certificates(settings.tls, settings.tls_secret) if settings.tls is not None else None
    context = sealed.context if sealed is not None else None
    http = HttpServer(edge, settings.http, app.metrics.http_replied, context)
    await http.start(settings.host, settings.port)
    app.metrics.gauges |= {
        "slipway_ready": ("1 while requests are welcome.", lambda: float(app.ready)),
        "slipway_connections": ("Open HTTP connections.", lambda: http.connections),
        "slipway_request_bytes": ("Bytes of requests in memory.", lambda: http.body_bytes),
    }
    LOG.info("listening on %s:%d, loading %s", settings.host or "all addresses", http.port, settings.model)
    following: asyncio.Task[None] | None = None
    if settings.mirror is not None:
        app.mirror = Mirror(settings.mirror, app.metrics.copies, trust=sealed.trust if sealed is not None else None)
        following = asyncio.create_task(app.mirror.follow())
    try:
        yield Listening(edge, http, sealed)
    finally:
        if following is not None:
            following.cancel()
        if edge.log is not None:
            edge.log.close()


def address(settings: Settings, port: int) -> str:
    """The server's URL, for its log."""
    scheme = "http" if settings.tls is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "localhost"
    return f"{scheme}://{host}:{port}"
