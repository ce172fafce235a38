"""Grace periods of pods that are to go, by the operator's own clock. Soft state, lost at a restart.

A pod tells its end by the server's clock, which may be an hour off the operator's: then each pod was deleted by force
in the second after it was asked to save its checkpoint, or ghosts stayed an hour too long. So the period is counted
from when the operator first saw that the pod is to go; after a restart it begins anew, which costs that much at most.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from slipway.reconcile.pods.observed import GOING_UNTIL
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import Object, uid_of
from slipway.runtime.conditions import format_time


class TerminatingSince:
    """Times since when pods are seen to be on their way out, by their job."""

    def __init__(self) -> None:
        self._since: dict[Key, dict[str, datetime]] = {}

    def look(self, job: Key, pods: Iterable[Object], now: datetime) -> None:
        """Remember those of a job's pods that are to go, and forget the others."""
        known = self._since.get(job, {})
        # A clock that was set back must not prolong anything.
        seen = {uid_of(p): min(now, known.get(uid_of(p), now)) for p in pods if p["metadata"].get("deletionTimestamp")}
        if seen:
            self._since[job] = seen
        else:
            self._since.pop(job, None)

    def forget(self, job: Key) -> None:
        """Forget a job that is gone."""
        self._since.pop(job, None)

    def timed(self, job: Key, pods: Iterable[Object]) -> list[Object]:
        """Add the end of the grace period to the pods that are to go: in metadata, in a field that no server knows."""
        since = self._since.get(job)
        return [_timed(pod, since[uid_of(pod)]) if uid_of(pod) in since else pod for pod in pods] if since else [*pods]


def _timed(pod: Object, since: datetime) -> Object:
    until = since + timedelta(seconds=pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    return {**pod, "metadata": {**pod["metadata"], GOING_UNTIL: format_time(until)}}
