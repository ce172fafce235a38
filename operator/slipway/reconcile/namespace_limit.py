"""Resources whose namespace has no memory of the operator left: says so, and looks again until there is room.

Called by the kinds' reconciles in place of their plan, for which a stub has no spec.
"""

from slipway.api.common.types import Reason
from slipway.reconcile.execute import Executor
from slipway.reconcile.plan import Notice
from slipway.reconcile.status import StatusDraft
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.namespace_shares import LOOK_AGAIN_SECONDS, SharedStore, crowded
from slipway.runtime.client.errors import NotFound
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import Object, Resource, name_of, namespace_of
from slipway.runtime.controller import Result


class Stubs:
    """Stubs of one kind's resources, kept where the namespace has no memory left for the whole."""

    def __init__(self, kube: Kube, cache: Cache, resource: Resource, executor: Executor) -> None:
        self._kube = kube
        self._cache = cache
        self._resource = resource
        self._executor = executor

    async def reconcile(self, stub: Object, draft: StatusDraft) -> Result:
        """Fetch the object if it may fit by now; else tell why it is not worked on. One that has ended is left."""
        namespace, store = namespace_of(stub), self._cache[self._resource]
        if not isinstance(store, SharedStore) or draft.run.finished:
            return Result()
        if store.room(stub):
            try:
                self._cache.observe(
                    self._resource, "MODIFIED", await self._kube.get(self._resource, namespace, name_of(stub))
                )
            except NotFound:
                return Result()
            known = store.get(namespace, name_of(stub))
            if known is None or not crowded(known):
                return Result(requeue_after=0.0)
        words = (
            f"the resources of namespace {namespace} take more than {store.share_mib:g} MiB of the operator's memory, "
            "and this one is not worked on: delete resources that have ended, or make large ones smaller "
            "(put data into a ConfigMap or a volume); SLIPWAY_NAMESPACE_MIB of the operator is the limit"
        )
        told = draft.stalled(Reason.NAMESPACE_FULL, words).done()
        await self._executor.report(stub, told, (Notice("Warning", Reason.NAMESPACE_FULL, words),))
        return Result(requeue_after=LOOK_AGAIN_SECONDS)
