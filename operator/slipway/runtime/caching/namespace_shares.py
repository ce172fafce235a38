"""Share of the cache that a namespace may take. Whoever may create objects could otherwise fill the operator's memory.

A namespace has a share for the resources that people write. What does not fit into it is kept as a stub: everything but
its spec. It is not worked on, its condition says why, and it is looked at again from time to time until there is room.
Other namespaces notice nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from slipway.runtime.caching.store import Change, Key, Store
from slipway.runtime.client.resource import Object, name_of, namespace_of, uid_of
from slipway.runtime.client.transform import Slim, slim

CROWDED = "crowded"
"""What the whole object weighs, in a stub: a field that no object of the API has."""
LOOK_AGAIN_SECONDS = 30.0

# What Python takes for each piece of JSON beside its text: a member or item, an object, a list.
_ITEM, _OBJECT, _LIST = 100, 230, 60


def weigh(obj: Object) -> int:
    """About how many bytes an object takes in memory, from its JSON, which is far quicker than to ask each part."""
    text = orjson.dumps(obj)
    return len(text) + _ITEM * text.count(b",") + _OBJECT * text.count(b"{") + _LIST * text.count(b"[")


def _version(obj: Object) -> tuple[str, Any]:
    return uid_of(obj), obj["metadata"].get("resourceVersion")


def crowded(obj: Object) -> bool:
    """Tell whether an object is a stub, kept without its spec for want of room."""
    return CROWDED in obj


def _stub(obj: Object, weight: int) -> Object:
    return {**obj, "spec": {}, CROWDED: weight}


class Shares:
    """Bytes that each namespace takes, over all stores that share the limit."""

    def __init__(self, most: int) -> None:
        """`most` in bytes, for each namespace."""
        self.most = most
        self._taken: Counter[str] = Counter()

    def taken(self, namespace: str) -> int:
        """Bytes that a namespace takes, stubs included."""
        return self._taken[namespace]

    def fits(self, namespace: str, more: int) -> bool:
        """Tell whether a namespace may take `more` bytes."""
        return self._taken[namespace] + more <= self.most

    def change(self, namespace: str, by: int) -> None:
        """Add `by` bytes, which may be negative, to what a namespace takes."""
        self._taken[namespace] += by
        if self._taken[namespace] <= 0:
            del self._taken[namespace]


class SharedStore(Store):
    """Store whose objects count against their namespaces' shares."""

    def __init__(
        self,
        shares: Shares,
        slim: Slim = slim,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Change], None] = lambda change: None,
    ) -> None:
        super().__init__(slim, clock, on_change)
        self._shares = shares
        self._weights: dict[Key, int] = {}

    @property
    def share_mib(self) -> float:
        """Share of each namespace, in MiB."""
        return self._shares.most / 2**20

    def room(self, stub: Object) -> bool:
        """Tell whether the whole object would fit by now, unless it has grown."""
        return self._shares.fits(namespace_of(stub), int(stub[CROWDED]))

    def sieve(self) -> Slim:
        """All pages of a LIST are in memory at once: what is known is not kept twice, and what will not fit, never."""
        more: Counter[str] = Counter()

        def keep(obj: Object) -> Object:
            namespace = namespace_of(obj)
            known = self._entries.get(Key(namespace, name_of(obj)))
            if known is not None and not crowded(known.obj) and _version(known.obj) == _version(obj):
                return known.obj
            thin = self._slim(obj)
            weight = weigh(thin)
            if not self._shares.fits(namespace, more[namespace] + weight):
                return _stub(thin, weight)
            more[namespace] += weight
            return thin

        return keep

    def _take(self, obj: Object, *, reborn: bool = False) -> Change | None:
        key = Key(namespace_of(obj), name_of(obj))
        known = self._entries.get(key)
        if known is not None and crowded(known.obj) and known.version is not None:
            # The same version may have room by now.
            known.obj = known.obj | {"metadata": known.obj["metadata"] | {"resourceVersion": ""}}
        return super()._take(obj, reborn=reborn)

    def _set(self, key: Key, obj: Object, uid: str, version: int | None) -> Change | None:
        before, weight = self._weights.get(key, 0), weigh(obj)
        if not self._shares.fits(key.namespace, weight - before):
            obj = _stub(obj, weight)
            weight = weigh(obj)
        self._shares.change(key.namespace, weight - before)
        self._weights[key] = weight
        return super()._set(key, obj, uid, version)

    def _remove(self, key: Key, uid: str, version: int | None, last: Object | None = None) -> Change | None:
        change = super()._remove(key, uid, version, last)
        if key not in self._entries and key in self._weights:
            self._shares.change(key.namespace, -self._weights.pop(key))
        return change
