"""Memory of what a decision about gangs reads from one job, until the job or one of its pods is another one."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from slipway.gang import lifecycle
from slipway.reconcile.run_state import RunState
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import Identity, Object, identity_of, name_of, namespace_of, uid_of
from slipway.trainingjob.job import TRAINING_JOBS
from slipway.trainingjob.queueing.claim import run_of

T = TypeVar("T")


@dataclass
class Standing:
    """One job as it is. `out`: whether no pods are to be created for it now, whatever room there is."""

    job: Object
    run: RunState
    key: Key
    uid: str
    identity: Identity
    out: bool
    _known: dict[str, tuple[Hashable, object]] = field(default_factory=dict)

    def remembered(self, what: str, as_of: Hashable, work_out: Callable[[], T]) -> T:
        """`work_out`'s answer, which is good as long as `as_of` is the same."""
        known = self._known.get(what)
        if known is None or known[0] != as_of:
            known = self._known[what] = (as_of, work_out())
        return known[1]  # type: ignore[return-value]


class Standings:
    """Standings of all jobs whose status can be read."""

    def __init__(self) -> None:
        self._of: dict[str, Standing] = {}

    def read(self, jobs: Iterable[Object]) -> list[Standing]:
        """Standings of the jobs now: what did not change is not read again."""
        found: dict[str, Standing] = {}
        for job in jobs:
            standing = self.of(job)
            if standing is not None:
                found[standing.uid] = standing
        self._of = found
        return list(found.values())

    def of(self, job: Object) -> Standing | None:
        """Standing of one job; None for a status that nobody can read."""
        known = self._of.get(job["metadata"]["uid"])
        return known if known is not None and known.job is job else _read(job)


def _read(job: Object) -> Standing | None:
    run = run_of(job)
    if run is None:
        return None
    policy = (job.get("spec") or {}).get("runPolicy") or {}
    out = bool(run.finished or run.attempt_time is not None or policy.get("suspend") or lifecycle.left_alone(job))
    key = Key(namespace_of(job), name_of(job))
    return Standing(job, run, key, uid_of(job), identity_of(job, TRAINING_JOBS), out)
