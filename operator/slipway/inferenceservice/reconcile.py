"""One look at an InferenceService: read the cache, decide, do. All I/O of the kind is here."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.inferenceservice.plan import plan
from slipway.inferenceservice.service import DEPLOYMENTS, INFERENCE_SERVICES, Platform
from slipway.inferenceservice.status import SOFT_FIELDS
from slipway.job import labels
from slipway.job.execute import Executor, Record, tellable
from slipway.job.status import Draft
from slipway.runtime.cache import Cache
from slipway.runtime.controller import DONE, Result
from slipway.runtime.errors import Terminal
from slipway.runtime.kube import Kube
from slipway.runtime.resource import PODS, Object, Resource, namespace_of, uid_of
from slipway.runtime.store import Key


class InferenceServices:
    """The kind's reconcile, bound to a server and a cache."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        platform: Platform,
        sources: Mapping[str, Resource],
        record: Record,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`sources`: the kinds whose artifacts can be served, by name."""
        self._cache = cache
        self._platform = platform
        self._sources = sources
        self._clock = clock
        self._executor = Executor(kube, cache, INFERENCE_SERVICES, SOFT_FIELDS, record)

    async def reconcile(self, key: Key) -> Result:
        """Bring the service one step further; raises Transient, Terminal or ApiError."""
        service = self._cache[INFERENCE_SERVICES].get(*key)
        if service is None:
            return DONE
        uid = uid_of(service)
        deployments = self._cache[DEPLOYMENTS].children(uid)
        pods = [pod for pod in self._cache[PODS] if (pod["metadata"].get("labels") or {}).get(labels.JOB_UID) == uid]
        decision = plan(service, deployments, pods, self._source(service), self._platform, self._clock())
        return Result(requeue_after=await self._executor.execute(service, decision))

    def waiting_for(self, kind: str, key: Key) -> list[Key]:
        """The services that serve what this job makes: they are looked at when it changes."""
        return [
            Key(namespace_of(service), service["metadata"]["name"])
            for service in self._cache[INFERENCE_SERVICES]
            if namespace_of(service) == key.namespace and _named(service, kind) == key.name
        ]

    async def on_error(self, key: Key, error: Exception) -> None:
        """Nothing fails silently: the condition says what the server said."""
        service, words = self._cache[INFERENCE_SERVICES].get(*key), tellable(error)
        if service is None or words is None:
            return
        draft = Draft(service.get("status"), service["metadata"].get("generation") or 1, self._clock())
        told = draft.stalled(*words) if isinstance(error, Terminal) else draft.progressing(*words)
        await self._executor.report(service, told.done())

    def _source(self, service: Object) -> Object | None:
        for kind, resource in self._sources.items():
            name = _named(service, kind)
            if name is not None:
                return self._cache[resource].get(namespace_of(service), name)
        return None


def _named(service: Object, kind: str) -> str | None:
    """The job of this kind that the service names, read from an object that may not be valid."""
    source: Any = service.get("spec")
    for field in ("predictor", "model", "from", f"{kind[0].lower()}{kind[1:]}"):
        source = source.get(field) if isinstance(source, dict) else None
    return source if isinstance(source, str) else None
