"""Metrics for those whom the API server lets read them, over TLS. Started by main where the setting asks for it.

GET /metrics with a bearer token: TokenReview says whose it is, SubjectAccessReview whether that account may `get` the
non-resource URL /metrics, as for the components of Kubernetes itself. Answers 200, 401 (no valid token), 403 (not
allowed), 429 (this peer shows too many unknown tokens), 503 (nobody can tell now); the last two with Retry-After.

A flood of made-up tokens costs the API server a bounded number of reviews, and shuts out nobody who was let in before:
who is known is answered from memory, and asked about again on a lane of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from slipway.runtime.client.errors import ApiError
from slipway.runtime.client.kube import Kube
from slipway.runtime.metrics import CONTENT_TYPE
from slipway.runtime.rate import Rate

log = logging.getLogger(__name__)

PATH = "/metrics"
GOOD_SECONDS = 60.0
BAD_SECONDS = 10.0
# How long somebody who was let in counts as known, when the next review is due.
KNOWN_SECONDS = 3600.0
REMEMBERED = 1024
MAX_TOKEN = 8192
REVIEWS_AT_ONCE = 2
MOST_WAITING = 16
# Unknown tokens of one peer.
PER_SECOND, BURST = 1.0, 5.0


class BusyError(Exception):
    """More unknown tokens than are reviewed; `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many tokens that nobody knows: try again in {retry_after:.0f} s")


class AccessReviewer:
    """Asks the API server who may read a path, and remembers the answers for a short while."""

    def __init__(self, kube: Kube, path: str = PATH, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._path = path
        self._clock = clock
        self._lanes = {known: asyncio.Semaphore(REVIEWS_AT_ONCE) for known in (True, False)}
        self._waiting = 0
        self._by_peer = Rate(PER_SECOND, BURST, keys=REMEMBERED, clock=clock)
        # Token's digest -> (answer, until when it is good, until when it was let in before)
        self._answers: OrderedDict[bytes, tuple[int, float, float]] = OrderedDict()

    async def judge(self, token: str, peer: str) -> int:
        """200, 401 or 403 for a token that `peer` shows. Raises BusyError, or ApiError if nobody can tell."""
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            return 401
        digest = hashlib.sha256(token.encode()).digest()
        answer, good_until, known_until = self._answers.get(digest, (0, 0.0, 0.0))
        if good_until > self._clock():
            return answer
        known = known_until > self._clock()
        if not known and (wait := self._by_peer.take(peer)) > 0:
            raise BusyError(wait)
        if not known and self._waiting >= MOST_WAITING:
            raise BusyError(BAD_SECONDS)
        self._waiting += not known
        try:
            async with self._lanes[known]:
                answer = await self._review(token)
        finally:
            self._waiting -= not known
        self._remember(digest, answer)
        return answer

    async def _review(self, token: str) -> int:
        status = await self._kube.token_review(token)
        user = status.get("user")
        if status.get("authenticated") is not True or not isinstance(user, Mapping):
            return 401
        return 200 if await self._kube.may_read_path(_subject(user), self._path) else 403

    def _remember(self, digest: bytes, answer: int) -> None:
        now = self._clock()
        seconds, known = (GOOD_SECONDS, KNOWN_SECONDS) if answer == 200 else (BAD_SECONDS, 0.0)
        self._answers.pop(digest, None)
        self._answers[digest] = (answer, now + seconds, now + known)
        if len(self._answers) > REMEMBERED:
            # Those who were let in go last: else a flood would make them unknown.
            stranger = next((key for key, (code, _, _) in self._answers.items() if code != 200), None)
            del self._answers[stranger if stranger is not None else next(iter(self._answers))]


def _subject(user: Mapping[str, Any]) -> dict[str, Any]:
    """Subject in the `spec` of a SubjectAccessReview, from a TokenReview's `user`."""
    subject: dict[str, Any] = {"user": str(user.get("username") or "")}
    return subject | {key: user[key] for key in ("groups", "uid", "extra") if user.get(key)}


def metrics_app(page: Callable[[], bytes], reviewer: AccessReviewer) -> web.Application:
    """The application; `page` gives the text."""

    async def metrics(request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _refused(401, "a bearer token is needed")
        try:
            answer = await reviewer.judge(token.strip(), request.remote or "")
        except BusyError as busy:
            return _refused(429, str(busy), busy.retry_after)
        except ApiError as error:
            log.warning("who may read metrics is not known: %s", error)
            return _refused(503, "the token could not be checked", 5)
        if answer == 200:
            return web.Response(body=page(), headers={"Content-Type": CONTENT_TYPE})
        words = "this account may not get /metrics: bind ClusterRole slipway-metrics-reader to it"
        return _refused(answer, words if answer == 403 else "the token is not valid here")

    app = web.Application()
    app.add_routes([web.get(PATH, metrics)])
    return app


def _refused(code: int, message: str, retry_after: float | None = None) -> web.Response:
    response = web.Response(text=message, status=code)
    if code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    return response
