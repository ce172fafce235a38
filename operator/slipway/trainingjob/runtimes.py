"""Runtimes in the cache, and the jobs that wait for one. Used by reconcile.py."""

from collections.abc import Mapping
from typing import Any

from slipway.api.training.runtime_ref import RuntimeKind
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.namespace_shares import crowded
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import Object, Resource, name_of, namespace_of
from slipway.trainingjob.job import RUNTIMES, TRAINING_JOBS


class Runtimes:
    """Runtimes of the cluster and of the namespaces; none where the server does not serve them."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def of(self, job: Object) -> Object | None:
        """The runtime that a job names, while it has no copy of one; None if there is none."""
        wanted = _wanted(job)
        store = self._cache.get(wanted[0]) if wanted else None
        if wanted is None or store is None:
            return None
        found = store.get(*wanted[1])
        # One for which the namespace has no memory left says so by a field that no runtime has.
        return found if found is None or not crowded(found) else {**found, "spec": {"tooManyBytes": True}}

    def waiting_for(self, resource: Resource, key: Key) -> list[Key]:
        """The jobs that name this runtime and have no copy yet."""
        return [
            Key(namespace_of(job), name_of(job))
            for job in self._cache[TRAINING_JOBS]
            if _wanted(job) == (resource, key)
        ]


def _wanted(job: Object) -> tuple[Resource, Key] | None:
    """Runtime to which the job's reference leads, unless it has a copy."""
    ref: Mapping[str, Any] | Any = (job.get("spec") or {}).get("runtimeRef")
    if not isinstance(ref, Mapping) or (job.get("status") or {}).get("runtime"):
        return None
    # As the server's default has it.
    local = ref.get("kind") == RuntimeKind.TRAINING_RUNTIME
    resource = RUNTIMES[RuntimeKind.TRAINING_RUNTIME if local else RuntimeKind.CLUSTER_TRAINING_RUNTIME]
    return resource, Key(namespace_of(job) if local else "", str(ref.get("name")))
