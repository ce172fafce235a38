"""Restoration of what pods lean on while they run, if somebody has deleted or changed it. Called by reconciler.py."""

import logging
from collections.abc import Iterable

from slipway.api.common.types import Reason
from slipway.reconcile.execute import Executor, Record
from slipway.reconcile.plan import Delete, Keep, Notice
from slipway.reconcile.refusal import tellable
from slipway.runtime.caching.cache import Cache
from slipway.runtime.client.errors import ApiError, Terminal, Transient
from slipway.runtime.client.resource import Object, Resource, identity_of, name_of, namespace_of, parent_of, uid_of

# Somebody's finalizer holds what was deleted, or the server refuses: the job goes on, and this is tried again.
AGAIN_SECONDS = 30.0

log = logging.getLogger(__name__)


class ChildRestorer:
    """Restorer of the objects that pods of one kind's jobs lean on."""

    def __init__(self, cache: Cache, resource: Resource, executor: Executor, record: Record) -> None:
        self._cache = cache
        self._resource = resource
        self._executor = executor
        self._record = record

    async def keep(self, job: Object, keeps: Iterable[Keep]) -> float | None:
        """Make what is missing or not intact; returns the seconds until it should be tried again, or None.

        The pods go on meanwhile: what goes wrong here is told in an event and is no failure of the job's.
        """
        failed = False
        for keep in keeps:
            store = self._cache.get(keep.write.resource)
            there = store.get(namespace_of(job), keep.name) if store is not None else None
            if store is None or (there is not None and keep.intact(there)):
                continue
            failed |= not await self._remake(job, keep, there)
        return AGAIN_SECONDS if failed else None

    async def _remake(self, job: Object, keep: Keep, there: Object | None) -> bool:
        mine = there is not None and parent_of(there) == identity_of(job, self._resource)
        changed = there if mine and there is not None and not there["metadata"].get("deletionTimestamp") else None
        what = f"{keep.write.resource.kind} {keep.name}"
        try:
            # Not patched: what somebody has added to a map would stay in it.
            old = Delete(keep.write.resource, keep.name, uid_of(changed)) if changed is not None else None
            await self._executor.remake(job, keep.write, old)
        except (Transient, Terminal, ApiError) as error:
            log.warning("%s/%s: %s cannot be made again: %s", namespace_of(job), name_of(job), what, error)
            words = tellable(error)
            if words is not None:
                self._record(job, Notice("Warning", words[0], f"{what} cannot be made again: {words[1]}"))
            return False
        how = "was deleted" if there is None else "was changed"
        self._record(job, Notice("Warning", Reason.RESTORED, f"{what} {how} by somebody and is made again"))
        return True
