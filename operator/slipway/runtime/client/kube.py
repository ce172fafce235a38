"""The API server's verbs as awaitable calls: JSON in, JSON out, typed errors. Called by everything that does I/O.

`gate` fences writes: a process that has lost its lease cannot write, and a write under way is cut off when the lease
runs out. The lease itself needs a Kube of its own without the gate, so that renewals never queue behind other work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from slipway.runtime.client.errors import Gone, NotFound
from slipway.runtime.client.kubeconfig import KubeConfig
from slipway.runtime.client.resource import (
    ACCESS_REVIEWS,
    CONFIGMAPS,
    EVENTS,
    LEASES,
    NODES,
    PODS,
    SERVICES,
    TOKEN_REVIEWS,
    Object,
    Resource,
    name_of,
    namespace_of,
)
from slipway.runtime.client.transform import Slim
from slipway.runtime.client.transport import APPLY_PATCH, MERGE_PATCH, Call, ObserveRequest, Transport

__all__ = [
    "CONFIGMAPS",
    "EVENTS",
    "FIELD_MANAGER",
    "LEASES",
    "NODES",
    "PODS",
    "SERVICES",
    "TOKEN_REVIEWS",
    "Kube",
    "KubeConfig",
    "Listing",
    "Object",
    "Resource",
]

FIELD_MANAGER = "slipway"
PAGE = 20
"""Objects in one answer to a LIST: each may have 1.5 MB, and all of an answer is in memory at once."""

_OURS = {"fieldManager": FIELD_MANAGER}


@dataclass(frozen=True, slots=True)
class Listing:
    """Result of a LIST: the objects, and the resourceVersion of that moment."""

    items: list[Object]
    resource_version: str


class Kube:
    """A client for one API server; use it in one event loop, and close it (or use it as an async context manager)."""

    def __init__(
        self,
        config: KubeConfig,
        *,
        concurrency: int = 16,
        timeout: float = 30.0,
        gate: Callable[[], float] | None = None,
        observe_request: ObserveRequest = lambda verb, code, seconds: None,
        user_agent_suffix: str = "",
    ) -> None:
        """`timeout` in seconds per try; `gate` gives the seconds for which we may still write (<= 0: refuse)."""
        self.config = config
        self._transport = Transport(
            config,
            concurrency=concurrency,
            timeout=timeout,
            gate=gate,
            observe_request=observe_request,
            user_agent=f"slipway-operator {user_agent_suffix}".rstrip(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object, as fresh as the server can give it. Raises NotFound."""
        return await self._transport.send(Call("get", "GET", resource.path(namespace, name)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        selector: str = "",
        rv0: bool = False,
        slim: Slim = lambda obj: obj,
    ) -> Listing:
        """All objects that carry the labels, in pages of one snapshot.

        `rv0` lets the server answer from its watch cache: cheap, in one page, and possibly a little old. `slim` is
        applied page by page, so that no more than one page is ever in memory whole.
        """
        params = {"labelSelector": selector} if selector else {}
        paged = params | {"limit": str(PAGE)} | ({"resourceVersion": "0"} if rv0 else {})
        try:
            return await self._pages(resource, namespace, paged, slim)
        except Gone:
            # The first page's snapshot was compacted away while we were paging: take everything in one go.
            return await self._pages(resource, namespace, params, slim)

    async def some(self, resource: Resource, namespace: str, *, fields: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most `limit` objects of a namespace that a field selector finds: one answer, whatever else there is."""
        query = {"fieldSelector": fields, "limit": str(limit)}
        answer = await self._transport.send(Call("list", "GET", resource.path(namespace), query))
        return list(answer.get("items") or ())[:limit]

    async def _pages(self, resource: Resource, namespace: str | None, params: Mapping[str, str], slim: Slim) -> Listing:
        path = resource.path(namespace)
        query = dict(params)
        # Objects inside a list come without these two.
        type_meta = {"apiVersion": resource.api_version, "kind": resource.kind}
        items: list[Object] = []
        while True:
            answer = await self._transport.send(Call("list", "GET", path, query))
            items += [slim(type_meta | item) for item in answer.get("items") or ()]
            token = answer["metadata"].get("continue")
            if not token:
                return Listing(items, str(answer["metadata"].get("resourceVersion", "")))
            query.pop("resourceVersion", None)  # the token carries the snapshot; both together are refused
            query["continue"] = token

    async def create(self, resource: Resource, obj: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """The created object as the server stored it. Raises AlreadyExists, Invalid, Forbidden."""
        params = _OURS | {"dryRun": "All"} if dry_run else _OURS
        return await self._transport.send(Call("create", "POST", resource.path(_home(resource, obj)), params, obj))

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
        return await self._transport.send(Call("delete", "DELETE", resource.path(namespace, name), None, options))

    async def patch(self, resource: Resource, namespace: str | None, name: str, body: Mapping[str, Any]) -> Object:
        """Merge-patch one object: null removes, lists are replaced whole."""
        return await self._transport.send(
            Call("patch", "PATCH", resource.path(namespace, name), _OURS, body, MERGE_PATCH)
        )

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

        `status` is the content of `.status`. The version is also what keeps a write off a successor of the same name.
        """
        body: dict[str, Any] = {"status": status}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        path = resource.path(namespace, name, "status")
        return await self._transport.send(Call("patch", "PATCH", path, _OURS, body, MERGE_PATCH))

    async def replace(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        """PUT the whole object; if it carries a resourceVersion, that must be current (Conflict otherwise)."""
        path = resource.path(_home(resource, obj), name_of(obj))
        return await self._transport.send(Call("update", "PUT", path, _OURS, obj))

    async def apply(self, resource: Resource, obj: Mapping[str, Any], *, force: bool = True) -> Object:
        """Server-side apply: create the object, or bring our fields in line and leave others' fields alone."""
        params = _OURS | {"force": "true" if force else "false"}
        body = {"apiVersion": resource.api_version, "kind": resource.kind} | dict(obj)
        path = resource.path(_home(resource, obj), name_of(obj))
        return await self._transport.send(Call("apply", "PATCH", path, params, body, APPLY_PATCH))

    async def token_review(self, token: str, audiences: tuple[str, ...] = ()) -> Object:
        """The `status` of a TokenReview: {authenticated, user{username, uid, groups, extra}, audiences, error}."""
        spec: dict[str, Any] = {"token": token} | ({"audiences": [*audiences]} if audiences else {})
        body = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": spec}
        answer = await self._transport.send(Call("create", "POST", TOKEN_REVIEWS.path(), None, body))
        return dict(answer.get("status") or {})

    async def may_read_path(self, subject: Mapping[str, Any], path: str) -> bool:
        """Tell whether somebody may `get` a path that is no resource. `subject`: {user, groups, uid, extra}."""
        spec = {**subject, "nonResourceAttributes": {"path": path, "verb": "get"}}
        body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "spec": spec}
        answer = await self._transport.send(Call("create", "POST", ACCESS_REVIEWS.path(), None, body))
        return (answer.get("status") or {}).get("allowed") is True

    async def serves(self, resource: Resource) -> bool:
        """Tell whether the server knows this resource in this version, e.g. whether our CRDs are installed."""
        try:
            answer = await self._transport.send(Call("get", "GET", resource.root))
        except NotFound:
            return False
        return any(entry.get("name") == resource.plural for entry in answer.get("resources") or ())


def _home(resource: Resource, obj: Mapping[str, Any]) -> str | None:
    """The namespace that the object names for itself; a namespaced object must name one."""
    if not resource.namespaced:
        return None
    namespace = namespace_of(obj)
    if not namespace:
        raise ValueError(f"{resource.kind} {name_of(obj)!r} names no namespace")
    return namespace
