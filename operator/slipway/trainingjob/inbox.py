"""What pods report of their training: whose word counts for which job, and the newest of it. Bound by main."""

from collections.abc import Callable
from typing import Any

from slipway.runtime.cache import Cache
from slipway.runtime.progress import Coalescer, Report
from slipway.runtime.progress_server import Owner
from slipway.runtime.resource import PODS, controller_of, uid_of
from slipway.runtime.token_review import PodIdentity
from slipway.trainingjob.job import TRAINING_JOBS
from slipway.trainingjob.reconcile import JobKey

# status.progress holds so many; KEP-2779 allows more.
MAX_METRICS = 64
# KEP-2779 has no fields for these: they travel as metrics.
STEP, TOTAL_STEPS = "step", "total_steps"


class Inbox:
    """Soft state: after a restart the pods' next reports fill it again."""

    def __init__(self, cache: Cache, mark_after: Callable[[JobKey, float], None]) -> None:
        self._cache = cache
        self._newest: Coalescer[JobKey, tuple[str, Report]] = Coalescer(mark_after)

    def find_owner(self, namespace: str, name: str, pod: PodIdentity) -> Owner | None:
        """The job, and whether this pod is one of its own."""
        job = self._cache[TRAINING_JOBS].get(namespace, name)
        if job is None:
            return None
        known = self._cache[PODS].get(pod.namespace, pod.name)
        owner = controller_of(known) if known is not None and uid_of(known) == pod.uid else None
        return Owner(uid_of(job), owner is not None and owner.get("uid") == uid_of(job))

    def accept(self, namespace: str, name: str, uid: str, report: Report) -> None:
        """Keep it, and have the job looked at before long."""
        self._newest.put(JobKey(namespace, name), (uid, report))

    def progress_of(self, key: JobKey, uid: str) -> dict[str, Any] | None:
        """As status.progress holds it; None when nothing was said of this very job."""
        known = self._newest.get(key)
        return _progress(known[1]) if known is not None and known[0] == uid else None

    def forget(self, key: JobKey) -> None:
        """The job is gone."""
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
    return int(text) if text is not None and text.isdecimal() else None
