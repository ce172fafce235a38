"""The stores of all watched resources, and the LISTs that keep them honest. Made by main, read by reconciles.

Watch events (`observe`) keep the stores current; `resync` LISTs everything of ours and replaces the content: at start,
every few minutes, and on demand. Without it, what was deleted while a watch was down would stay for ever.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slipway.runtime.caching.namespace_shares import SharedStore, Shares
from slipway.runtime.caching.store import Change, Store
from slipway.runtime.client.errors import ApiError, Forbidden
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import Object, Resource
from slipway.runtime.client.transform import Slim, slim, slim_link, slim_pod

__all__ = ["Cache", "Change", "Store", "slim", "slim_link", "slim_pod"]

log = logging.getLogger(__name__)

ASKED_PAUSE = 0.5
"""Seconds between a wish for a resync and the resync: several wishes cost one."""

OnChange = Callable[[Resource, Change], None]
"""Called, on the event loop, for each object that changed; it only marks keys."""


@dataclass(frozen=True, slots=True)
class _Watched:
    store: Store
    selector: str
    slim: Slim


class Cache:
    """One store per resource. `namespaces` empty means the whole cluster."""

    def __init__(
        self,
        on_change: OnChange,
        *,
        namespaces: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_change = on_change
        self._namespaces = namespaces
        self._clock = clock
        self._watched: dict[Resource, _Watched] = {}
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()
        self.heard_at = clock()
        """The clock's time of the last event or LIST: a watch that went silent shows here."""

    def add(self, resource: Resource, *, selector: str = "", slim: Slim = slim, shares: Shares | None = None) -> Store:
        """Keep this resource, or those of its objects that carry the labels; `slim` drops what nobody reads.

        With `shares`, its objects count against what their namespaces may take.
        """
        told = partial(self._on_change, resource)
        store = Store(slim, self._clock, told) if shares is None else SharedStore(shares, slim, self._clock, told)
        self._watched[resource] = _Watched(store, selector, slim)
        return store

    def get(self, resource: Resource) -> Store | None:
        """The store of this resource, or None where it is not watched."""
        watched = self._watched.get(resource)
        return watched.store if watched else None

    def __getitem__(self, resource: Resource) -> Store:
        return self._watched[resource].store

    def observe(self, resource: Resource, event_type: str | None, obj: Object) -> None:
        """Take in one watch event; `on_change` hears of it if it is news.

        `event_type` None: the watch has just listed what is there. What was deleted since our own last LIST, between
        which and this one nobody watched, it will never tell: so a resync is due.
        """
        self.heard_at = self._clock()
        if event_type is None:
            self.ask_for_resync()
        change = self[resource].observe(event_type, obj)
        if change is not None:
            self._on_change(resource, change)

    async def resync(self, kube: Kube) -> int:
        """Replace everything by what the server lists, and return the number of changes. Raises ApiError.

        In small pages: a server that answers from its watch cache takes no notice of a limit, so that is not asked.
        Of several namespaces one may refuse, by whoever rules there: what was known of it stays, and the others go on.
        """
        async with self._one_at_a_time:
            counts = await asyncio.gather(
                *(
                    self._resync_any(kube, resource, namespace)
                    for resource in self._watched
                    for namespace in (self._namespaces if resource.namespaced else ()) or (None,)
                )
            )
        self.heard_at = self._clock()
        return sum(counts)

    async def _resync_any(self, kube: Kube, resource: Resource, namespace: str | None) -> int:
        try:
            return await self._resync_one(kube, resource, namespace)
        except Forbidden as error:
            if namespace is None or len(self._namespaces) < 2:
                raise
            log.error("namespace %s is left alone until its rights are back: %s", namespace, error)
            return 0

    async def _resync_one(self, kube: Kube, resource: Resource, namespace: str | None) -> int:
        watched = self._watched[resource]
        since = watched.store.begin(consistent=True)
        listing = await kube.list(resource, namespace, selector=watched.selector, slim=watched.store.sieve())
        # From here to the last mark there is no await: no event can slip in between.
        changes = watched.store.replace(listing.items, listing.resource_version, since, namespace)
        for change in changes:
            self._on_change(resource, change)
        return len(changes)

    def ask_for_resync(self) -> None:
        """Make `keep_synced` run now: somebody has found the cache to be wrong."""
        self._asked.set()

    async def keep_synced(self, kube: Kube, every: float = 300.0) -> None:
        """Resync about every `every` seconds, and when asked, for ever. A LIST that fails is tried again soon."""
        pause = every
        while True:
            try:
                async with asyncio.timeout(pause * random.uniform(0.9, 1.1)):  # noqa: S311 (not to LIST in step)
                    await self._asked.wait()
            except TimeoutError:
                pass
            if self._asked.is_set():
                # A watch that lists tells of many objects at once, and the other watches are about to do the same.
                await asyncio.sleep(min(every, ASKED_PAUSE))
            self._asked.clear()
            try:
                changes = await self.resync(kube)
                pause = every
            except ApiError as error:
                log.warning("resync failed: %s", error)
                pause = min(every, 10.0)
            else:
                if changes:
                    log.info("resync found %d changes that no event had told", changes)
