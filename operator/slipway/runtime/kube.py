"""One request to the API server, typed errors out. The only module that uses aiohttp as a client.

Called by everything that does I/O: the kinds' reconciles, `cache.resync`, `lease`, `events`, `progress`.

Polite by construction: at most `concurrency` requests at once, a time limit on each, 429 and Retry-After honoured a few
times, then the caller's backoff takes over. `gate` fences writes: a process that has lost its lease cannot write, and a
write that is under way is cut off when the lease runs out. The lease itself needs a Kube of its own, without the gate,
so that renewals never queue behind other work.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from .errors import ApiError, Gone, NotFound, NotLeading, Unauthorized, Unavailable, from_answer, from_network
from .kubeconfig import KubeConfig, Token
from .resource import TOKEN_REVIEWS, Object, Resource, name_of, namespace_of

FIELD_MANAGER = "slipway"
MAX_TRIES = 4
"""Tries for one request that is shed (429), or that only reads and got no usable answer."""
MAX_RETRY_AFTER = 10.0
"""Seconds a request may sleep before its next try; a longer Retry-After goes to the caller's backoff instead."""
PAGE = 500

JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

ForEachRequest = Callable[[str, str, float], None]
"""Called with (verb, HTTP code or error reason, seconds) after each try of a request; feeds the metrics."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a LIST saw: the objects, and the resourceVersion of that moment."""

    items: list[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Call:
    """One request before it is sent; `verb` in the API server's words (get, list, create, ...)."""

    verb: str
    method: str
    path: str
    params: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    content_type: str = JSON

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    @property
    def gated(self) -> bool:
        return not self.reads and not self.path.startswith(TOKEN_REVIEWS.root)


class Kube:
    """A client for one API server; use it as an async context manager, in one event loop."""

    def __init__(
        self,
        config: KubeConfig,
        *,
        concurrency: int = 16,
        timeout: float = 30.0,
        gate: Callable[[], float] | None = None,
        for_each_request: ForEachRequest = lambda verb, code, seconds: None,
        user_agent_suffix: str = "",
    ) -> None:
        """`timeout` in seconds per try; `gate` gives the seconds for which we may still write (<= 0: refuse)."""
        self.config = config
        self._token = Token(config)
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._timeout = timeout
        self._gate = gate
        self._for_each_request = for_each_request
        self._agent = " ".join(filter(None, ("slipway-operator", user_agent_suffix)))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._concurrency, keepalive_timeout=60, ssl=True if self.config.ssl is None else self.config.ssl
        )
        self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": self._agent})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object, as fresh as the server can give it. Raises NotFound."""
        return await self._send(_Call("get", "GET", resource.path(namespace, name)))

    async def list(
        self, resource: Resource, namespace: str | None = None, *, selector: str = "", rv0: bool = False
    ) -> Listing:
        """All objects that carry the labels, in pages of one snapshot.

        `rv0` lets the server answer from its watch cache: cheap, in one page, and possibly a little old.
        """
        params = {"labelSelector": selector} if selector else {}
        try:
            return await self._pages(resource, namespace, params | ({"resourceVersion": "0"} if rv0 else {}), PAGE)
        except Gone:
            # The snapshot of the first page was compacted away under us: take everything in one go.
            return await self._pages(resource, namespace, params, None)

    async def _pages(
        self, resource: Resource, namespace: str | None, params: Mapping[str, str], page: int | None
    ) -> Listing:
        items: list[Object] = []
        query = dict(params) | ({"limit": str(page)} if page else {})
        while True:
            answer = await self._send(_Call("list", "GET", resource.path(namespace), query))
            for item in answer.get("items") or ():
                # Objects inside a list come without these two.
                items.append({"apiVersion": resource.api_version, "kind": resource.kind} | item)
            token = answer["metadata"].get("continue")
            if not token:
                return Listing(items, str(answer["metadata"].get("resourceVersion", "")))
            query.pop("resourceVersion", None)
            query["continue"] = token

    async def create(self, resource: Resource, obj: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """The created object as the server stored it. Raises AlreadyExists, Invalid, Forbidden."""
        params = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return await self._send(_Call("create", "POST", resource.path(_home(resource, obj)), params, obj))

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> Object:
        """Ask for deletion; `uid` makes sure that it hits that very object (Conflict otherwise). Raises NotFound.

        Returns the object with its deletionTimestamp while it is still being stopped, else a Status of kind Success.
        """
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        return await self._send(_Call("delete", "DELETE", resource.path(namespace, name), None, options))

    async def patch(self, resource: Resource, namespace: str | None, name: str, body: Mapping[str, Any]) -> Object:
        """Merge-patch one object; lists are replaced whole, null removes."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self._send(_Call("patch", "PATCH", resource.path(namespace, name), params, body, MERGE))

    async def patch_status(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        status: Mapping[str, Any],
        *,
        resource_version: str | None = None,
    ) -> Object:
        """Merge-patch the status; with `resource_version`, only if nobody wrote since (Conflict otherwise).

        The version is also the only guard against writing to a successor of the same name: a UID in a status patch is
        ignored by the server.
        """
        body: dict[str, Any] = {"status": status}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        params = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name, "status")
        return await self._send(_Call("patch_status", "PATCH", path, params, body, MERGE))

    async def replace(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        """PUT the whole object; its metadata.resourceVersion must be current (Conflict otherwise)."""
        path = resource.path(_home(resource, obj), name_of(obj))
        return await self._send(_Call("update", "PUT", path, {"fieldManager": FIELD_MANAGER}, obj))

    async def apply(self, resource: Resource, obj: Mapping[str, Any], *, force: bool = True) -> Object:
        """Server-side apply: create the object or bring our fields of it in line, leaving others' fields alone."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        body = {"apiVersion": resource.api_version, "kind": resource.kind} | dict(obj)
        path = resource.path(_home(resource, obj), name_of(obj))
        return await self._send(_Call("apply", "PATCH", path, params, body, APPLY))

    async def token_review(self, token: str, audiences: tuple[str, ...] = ()) -> Object:
        """The `status` of a TokenReview: {authenticated, user{username, uid, groups, extra}, audiences, error}."""
        spec: dict[str, Any] = {"token": token} | ({"audiences": [*audiences]} if audiences else {})
        body = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": spec}
        answer = await self._send(_Call("create", "POST", TOKEN_REVIEWS.path(), None, body))
        return dict(answer.get("status") or {})

    async def version(self) -> tuple[int, int]:
        """The server's version as (major, minor); vendors' suffixes such as "27+" are dropped."""
        answer = await self._send(_Call("get", "GET", "/version"))
        major, minor = (str(answer.get(key, "0")) for key in ("major", "minor"))
        return int(major.rstrip("+") or 0), int(minor.rstrip("+") or 0)

    async def api_groups(self) -> dict[str, tuple[str, ...]]:
        """Each served API group with its versions, the preferred one first; the core group "" is left out."""
        answer = await self._send(_Call("get", "GET", "/apis"))
        groups: dict[str, tuple[str, ...]] = {}
        for group in answer.get("groups") or ():
            preferred = (group.get("preferredVersion") or {}).get("version")
            versions = [entry["version"] for entry in group.get("versions") or ()]
            groups[group["name"]] = tuple(sorted(versions, key=lambda version: version != preferred))
        return groups

    async def serves(self, resource: Resource) -> bool:
        """Whether the server knows this resource in this version, e.g. whether our CRDs are installed."""
        try:
            answer = await self._send(_Call("get", "GET", resource.root))
        except NotFound:
            return False
        return any(entry.get("name") == resource.plural for entry in answer.get("resources") or ())

    async def _send(self, call: _Call) -> Object:
        """Send, and try again where that is safe: a shed request, or a read that got no usable answer."""
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                return await self._try(call)
            except Unauthorized:
                if not tries_left or not self._token.expire():
                    raise
                call, wait = replace(call), 0.0
                tries_left_after_rotation = 0
            except ApiError as error:
                wait = _pause(call, error, MAX_TRIES - 1 - tries_left)
                if not tries_left or wait is None:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")
