"""Send one request to the API server and hand back JSON or a typed error. Used by `kube` only.

The one module that speaks to the API server over aiohttp. Polite by construction: at most `concurrency` requests at
once, a time limit on each try, 429 and Retry-After honoured a few times; then the caller's backoff takes over.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from slipway.runtime.client.document import parse
from slipway.runtime.client.errors import (
    ApiError,
    NotLeading,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    from_answer,
    from_network,
)
from slipway.runtime.client.kubeconfig import KubeConfig, Token
from slipway.runtime.client.resource import ACCESS_REVIEWS, TOKEN_REVIEWS, Object

MAX_TRIES = 4
"""Tries for one request that was shed (429), or that only reads and got no usable answer."""
MAX_PAUSE = 10.0
"""Seconds a request may wait for its next try; a longer Retry-After goes to the caller's backoff instead."""
FIRST_PAUSE = 0.1

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

ObserveRequest = Callable[[str, str, float], None]
"""Called after each try with (verb, HTTP code or the error's reason, seconds); feeds the metrics."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it is sent; `verb` is the API server's own word (get, list, create, ...)."""

    verb: str
    method: str
    path: str
    params: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    content_type: str = JSON

    @property
    def reads(self) -> bool:
        """Tell whether sending it twice changes nothing."""
        return self.method == "GET"

    @property
    def gated(self) -> bool:
        """Tell whether only the leader may send it; a review is a question that happens to be a POST."""
        return not self.reads and not self.path.startswith((TOKEN_REVIEWS.root, ACCESS_REVIEWS.root))


class Transport:
    """A pool of connections to one API server, in one event loop."""

    def __init__(
        self,
        config: KubeConfig,
        *,
        concurrency: int,
        timeout: float,
        gate: Callable[[], float] | None,
        observe_request: ObserveRequest,
        user_agent: str,
    ) -> None:
        self._config = config
        self._token = Token(config)
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout = timeout
        self._gate = gate
        self._observe_request = observe_request
        self._agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, call: Call) -> Object:
        """The answer's JSON. Raises ApiError, NotLeading. Tries again only where the server can't act twice."""
        for tried in range(1, MAX_TRIES + 1):
            try:
                return await self._try(call)
            except ApiError as error:
                pause = self._pause(call, error, tried)
                if pause is None:
                    raise
            # The slot is free again while we wait: a shed request must not hold up the others.
            await asyncio.sleep(pause)
        raise AssertionError("the last try either returned or raised")

    def _pause(self, call: Call, error: ApiError, tried: int) -> float | None:
        """Seconds until the next try, or None if the error goes to the caller."""
        if tried >= MAX_TRIES:
            return None
        if isinstance(error, Unauthorized):
            # Once, and only if the token comes from a file: the kubelet may have replaced it since we read it.
            return 0.0 if tried == 1 and self._token.expire() else None
        if not (isinstance(error, TooManyRequests) or (call.reads and isinstance(error, Unavailable))):
            return None
        pause = error.retry_after
        if pause is None:
            pause = FIRST_PAUSE * 2.0 ** (tried - 1) * (0.5 + random.random())  # noqa: S311 (jitter, not a secret)
        return pause if pause <= MAX_PAUSE else None

    async def _try(self, call: Call) -> Object:
        async with self._slots:
            seconds = self._allowance(call)
            started = asyncio.get_running_loop().time()
            code = "cancelled"
            try:
                async with asyncio.timeout(seconds):
                    status, body, retry_after = await self._exchange(call)
                code = str(status)
            except (aiohttp.ClientError, OSError, ssl.SSLError, TimeoutError) as error:
                failure = from_network(error)
                code = failure.reason
                raise failure from error
            finally:
                self._observe_request(call.verb, code, asyncio.get_running_loop().time() - started)
        if status >= 400:
            raise from_answer(status, body, retry_after)
        return _document(status, body)

    def _allowance(self, call: Call) -> float:
        """Seconds this try may take. A write must not outlive our lease, or a new leader's writes could cross it."""
        if self._gate is None or not call.gated:
            return self._timeout
        left = self._gate()
        if left <= 0:
            raise NotLeading
        return min(self._timeout, left)

    async def _exchange(self, call: Call) -> tuple[int, bytes, str | None]:
        headers = {"Accept": JSON}
        if (token := self._token.value()) is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            data = orjson.dumps(call.body)
        async with self._open().request(
            call.method,
            self._config.server + call.path,
            params=call.params,
            data=data,
            headers=headers,
            allow_redirects=False,
            server_hostname=self._config.server_name,
        ) as response:
            return response.status, await response.read(), response.headers.get("Retry-After")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = self._config.ssl
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._concurrency, keepalive_timeout=60, ssl=True if context is None else context
                ),
                headers={"User-Agent": self._agent},
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


def _document(status: int, body: bytes) -> Object:
    try:
        document = parse(body)
    except ValueError as error:
        raise Unavailable(status, "BadAnswer", f"not JSON: {body[:200]!r}") from error
    if not isinstance(document, dict):
        raise Unavailable(status, "BadAnswer", f"not an object: {body[:200]!r}")
    return document
