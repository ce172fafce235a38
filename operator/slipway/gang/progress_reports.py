"""Progress reports of pods: whose word counts for which job, and the newest. One object per kind; bound by main."""

from collections.abc import Callable, Mapping
from typing import Any

from slipway.api.common.types import MAX_INT32
from slipway.reconcile.pods.members import is_member
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import PODS, Resource, uid_of
from slipway.runtime.servers.progress import Coalescer, Report
from slipway.runtime.servers.progress_server import Owner
from slipway.runtime.servers.token_review import PodIdentity

# status.progress holds so many; KEP-2779 allows more.
MAX_METRICS = 64
# KEP-2779 has no fields for these: they travel as metrics.
STEP, TOTAL_STEPS = "step", "total_steps"

ProgressOf = Callable[[Key, str], Mapping[str, Any] | None]
"""(a job's key, its UID) -> the newest report as status.progress holds it, or None."""


class ProgressReports:
    """Newest reports by job. Soft state: after a restart the pods' next reports fill it again."""

    def __init__(self, cache: Cache, resource: Resource, mark_after: Callable[[Key, float], None]) -> None:
        self.resource = resource
        self._cache = cache
        self._newest: Coalescer[Key, tuple[str, Report]] = Coalescer(mark_after)

    def find_owner(self, namespace: str, name: str, pod: PodIdentity) -> Owner | None:
        """Find the job, and whether this pod is one of its own; None without such a job."""
        job = self._cache[self.resource].get(namespace, name)
        if job is None:
            return None
        known = self._cache[PODS].get(pod.namespace, pod.name)
        mine = known is not None and uid_of(known) == pod.uid and is_member(known, job, self.resource)
        return Owner(uid_of(job), mine)

    def accept(self, namespace: str, name: str, uid: str, report: Report) -> None:
        """Keep the report, and have the job looked at before long."""
        self._newest.put(Key(namespace, name), (uid, report))

    def progress_of(self, key: Key, uid: str) -> dict[str, Any] | None:
        """Newest report as status.progress holds it; None when nothing was said of this very job."""
        known = self._newest.get(key)
        return _progress(known[1]) if known is not None and known[0] == uid else None

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._newest.forget(key)


def _progress(report: Report) -> dict[str, Any]:
    shown = [(name, value) for name, value in report.metrics.items() if name not in (STEP, TOTAL_STEPS)]
    progress: dict[str, Any] = {
        "metrics": [{"name": name, "value": value} for name, value in shown[:MAX_METRICS]],
        "lastUpdatedTime": report.updated_time,
    }
    for field, number in (
        ("percent", report.percent),
        ("estimatedRemainingSeconds", report.remaining_seconds),
        ("step", _whole(report.metrics.get(STEP))),
        ("totalSteps", _whole(report.metrics.get(TOTAL_STEPS))),
    ):
        if number is not None:
            progress[field] = number
    return progress


def _whole(text: str | None) -> int | None:
    number = int(text) if text is not None and text.isdecimal() else None
    # More than a status has room for would have all of it refused, and the job could tell nothing any more.
    return number if number is None or number <= MAX_INT32 else None
