"""The application as clients see it: what run.py puts around it where a service asks for anything of it.

A request that brings nothing to do pays one comparison. Order: preflights (browsers send no key with them), the key,
the request itself; then the headers and the log, of errors as well.
"""

import asyncio
import hmac
import re
import secrets
import time
from typing import Any

from workloads.serve.edge.access_log import AccessLog
from workloads.serve.edge.keys import Keys
from workloads.serve.edge.origins import PREFLIGHT, Origins
from workloads.serve.edge.timing import server_timing
from workloads.serve.http import Pending, Reply, Request, Stream
from workloads.serve.http.message import Handle, failure_reply
from workloads.serve.settings import EdgeChoice

ID = b"x-request-id"
# What a log and a header can hold; of anything else a new one is made.
GIVEN = re.compile(rb"[\x21-\x7e]{1,128}")
# The page holds nothing of the service's, and is where a browser's user gives the key.
FREE = frozenset({b"/", b"/health", b"/metrics", b"/v2/health/live", b"/v2/health/ready"})
READY = re.compile(rb"/v2/models/[^/%]+(/versions/[^/%]+)?/ready")
DESCRIBED = re.compile(rb"/v2/models/[^/%]+")


class EdgePending:
    """A pending reply that is dressed when it is there."""

    __slots__ = ("_edge", "_inner", "_name", "_request", "_started", "future")

    def __init__(self, edge: "Edge", inner: Pending, request: Request, name: bytes, started: float) -> None:
        self.future: asyncio.Future[Any] = inner.future
        self._edge, self._inner, self._request, self._name, self._started = edge, inner, request, name, started

    @property
    def waiting(self) -> bool:
        """True while nothing has been done for the request."""
        return bool(getattr(self._inner, "waiting", False))

    def finish(self) -> "Reply | EdgePending":
        """The reply, an error's as well."""
        reply: Reply | Pending
        try:
            reply = self._inner.finish()
        except (Exception, asyncio.CancelledError) as error:
            reply = failure_reply(error)
        if not isinstance(reply, Reply):
            return EdgePending(self._edge, reply, self._request, self._name, self._started)
        return self._edge.dressed(reply, self._request, self._name, self._started)

    def abandon(self) -> None:
        """Abandon the reply: its client is gone."""
        self._inner.abandon()


class Edge:
    """Layer around `app` that checks keys, adds headers and logs requests.

    Raises BadInput for keys that are not there.
    """

    def __init__(self, app: Handle, choice: EdgeChoice, log: AccessLog | None = None) -> None:
        self._app = app
        self._makes = choice.request_id
        self._times = choice.server_timing
        self._origins = Origins(choice.cors) if choice.cors is not None else None
        self.keys = Keys(choice.keys, choice.secret) if choice.keys is not None else None
        self._uid = choice.uid.encode()
        self.log = log or (AccessLog(choice.sample) if choice.sample else None)
        self._plain = self.log is None and choice == EdgeChoice()

    def __call__(self, request: Request) -> "Reply | Pending":
        """The answer, or its promise."""
        headers = request.headers
        if self._plain and ID not in headers:
            return self._app(request)
        started = time.monotonic()
        name = headers.get(ID, b"")
        if not GIVEN.fullmatch(name):
            name = secrets.token_hex(16).encode() if self._makes or self.log is not None else b""
        try:
            outcome = self._inner(request)
        except Exception as error:
            outcome = failure_reply(error)
        if isinstance(outcome, Reply):
            return self.dressed(outcome, request, name, started)
        return EdgePending(self, outcome, request, name, started)

    def _inner(self, request: Request) -> "Reply | Pending":
        if self._origins is not None and (reply := self._origins.preflight(request)) is not None:
            return reply
        if self.keys is not None and not self._free(request):
            self.keys.check(request.headers.get(b"authorization"), request.headers.get(b"x-api-key"))
        return self._app(request)

    def _free(self, request: Request) -> bool:
        """Tell whether a request needs no key: what probes, scrapers and the operator ask."""
        path, known = request.path, request.headers.get(b"slipway-service", b"")
        if path in FREE or READY.fullmatch(path):
            return True
        told = bool(self._uid) and hmac.compare_digest(known, self._uid)
        return told and request.method == b"GET" and bool(DESCRIBED.fullmatch(path))

    def dressed(self, reply: Reply, request: Request, name: bytes, started: float) -> Reply:
        """Add the headers that the service asks for to a reply, and log the request."""
        seconds, lines = time.monotonic() - started, b""
        if name:
            lines += b"X-Request-Id: %b\r\n" % name
        if self._times:
            lines += b"Server-Timing: %b\r\n" % server_timing(reply.timing, seconds)
        if self._origins is not None and reply.status != PREFLIGHT:
            lines += self._origins.headers(request.headers)
        if reply.status == 401:
            lines += b'WWW-Authenticate: Bearer realm="slipway"\r\n'
        reply.headers += lines
        if self.log is not None:
            if isinstance(reply, Stream):  # logged at its end, with its size
                log, one = self.log, reply
                reply.ended = lambda: log.request(request, one, name, time.monotonic() - started)
            else:
                self.log.request(request, reply, name, seconds)
        return reply
