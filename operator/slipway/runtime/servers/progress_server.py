"""The HTTPS endpoint where pods of jobs post their progress, in KEP-2779's wire format. Started by main.

POST {the job's status path, as in the API} with a bearer token. Answers as Kubeflow Trainer does: 200 with the parsed
body, else a metav1.Status with 401 (no valid token), 403 (a pod of somebody else), 404 (no such job or path), 413 (over
64 KiB), 422 (bad values), 429 (too often, with Retry-After), 503 (not leading, or the API server is away).

Nothing is trusted: limits are checked in the order of their cost, and a pod may speak only for the job that owns it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import orjson
from aiohttp import web

from slipway.runtime.client.errors import ApiError
from slipway.runtime.client.resource import Resource
from slipway.runtime.rate import Rate
from slipway.runtime.servers.progress import Report, parse_report
from slipway.runtime.servers.token_review import PodIdentity, TokenReviewer

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024
BODY_SECONDS = 10.0

_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "Timeout",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Job by its UID, and whether a pod that claims to belong to it does."""

    uid: str
    owns_pod: bool


FindOwner = Callable[[str, str, PodIdentity], Owner | None]
"""(namespace, job, pod) -> the job, or None if there is none. Called on the loop; answers from the cache."""

Accept = Callable[[str, str, str, Report], None]
"""Called with (namespace, job, the job's UID, report); only keeps it, e.g. in a Coalescer."""


@dataclass(frozen=True, slots=True)
class ProgressSink:
    """One kind whose pods may post."""

    resource: Resource
    find_owner: FindOwner
    accept: Accept


class Refused(Exception):  # noqa: N818
    """The answer is an error."""

    def __init__(self, code: int, message: str, retry_after: float | None = None) -> None:
        self.code = code
        self.message = message
        self.retry_after = retry_after
        super().__init__(message)


class ProgressServer:
    """The endpoint of all kinds; `app()` is what `server.listening` serves over TLS."""

    def __init__(
        self,
        listeners: Sequence[ProgressSink],
        reviewer: TokenReviewer,
        *,
        leading: Callable[[], bool] = lambda: True,
        observe: Callable[[int], None] = lambda code: None,
    ) -> None:
        self._listeners = listeners
        self._reviewer = reviewer
        self._leading = leading
        self._observe = observe
        self._by_peer = Rate(20, 100)
        self._by_job = Rate(1, 10)

    def app(self) -> web.Application:
        """The routes; everything else is 404."""
        app = web.Application(client_max_size=MAX_BODY)
        for listener in self._listeners:
            path = listener.resource.path("_ns", "_name", "status")
            path = path.replace("_ns", "{namespace}").replace("_name", "{name}")
            app.add_routes([web.post(path, partial(self._handle, listener))])
        app.add_routes([web.route("*", "/{tail:.*}", self._handle_other)])
        return app

    async def _handle(self, listener: ProgressSink, request: web.Request) -> web.Response:
        try:
            report = await self._take(listener, request)
        except Refused as refused:
            return self._refuse(refused)
        except Exception:
            # One post must not end the operator, and what went wrong is no affair of the pod's: it is in the log.
            log.exception("progress post failed")
            return self._refuse(Refused(500, "internal error"))
        self._observe(200)
        return _json(200, {} if report is None else report.wire())

    async def _handle_other(self, request: web.Request) -> web.Response:
        return self._refuse(Refused(404, "not found"))

    async def _take(self, listener: ProgressSink, request: web.Request) -> Report | None:
        if not self._leading():
            raise Refused(503, "this replica does not lead", 2)
        _limit(self._by_peer, request.remote or "")
        if (request.content_length or 0) > MAX_BODY:
            raise Refused(413, f"more than {MAX_BODY} bytes")
        pod = await self._identify(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if pod.namespace != namespace:
            raise Refused(403, "a pod may speak only for the job that owns it")
        owner = listener.find_owner(namespace, name, pod)
        if owner is None:
            raise Refused(404, f"{listener.resource.kind} {name} not found")
        if not owner.owns_pod:
            raise Refused(403, "a pod may speak only for the job that owns it")
        _limit(self._by_job, owner.uid)
        try:
            report = parse_report(await _body(request))
        except ValueError as error:
            raise Refused(422, str(error)) from None
        if report is not None:
            listener.accept(namespace, name, owner.uid, report)
        return report

    async def _identify(self, request: web.Request) -> PodIdentity:
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(401, "a bearer token is needed")
        try:
            pod = await self._reviewer.identify(token.strip())
        except ApiError as error:
            log.warning("token not reviewed: %s", error)
            raise Refused(503, "the token could not be checked", 5) from error
        if pod is None:
            raise Refused(401, "the token is not valid here, or not bound to a pod")
        return pod

    def _refuse(self, refused: Refused) -> web.Response:
        self._observe(refused.code)
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": refused.message,
            "reason": _REASONS[refused.code],
            "code": refused.code,
        }
        response = _json(refused.code, status)
        if refused.retry_after is not None:
            response.headers["Retry-After"] = str(math.ceil(refused.retry_after))
        return response


def _limit(rate: Rate, key: str) -> None:
    if (wait := rate.take(key)) > 0:
        raise Refused(429, "too many posts", wait)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"more than {MAX_BODY} bytes") from None
    except TimeoutError:
        raise Refused(408, f"the body did not come within {BODY_SECONDS:g} s") from None


def _json(code: int, document: object) -> web.Response:
    return web.Response(status=code, body=orjson.dumps(document), content_type="application/json")
