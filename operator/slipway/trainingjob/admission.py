"""Admission of gangs: reads the cache, asks queueing/backfill.py, and wakes those that may start. Used by reconcile.py.

Nothing of this is persisted: who was let in has pods, and who has none is asked again. A decision is about all waiting
gangs at once and holds until something changes, so a burst of jobs costs a handful of decisions. While gangs wait, each
change has a decision made soon, by a timer and by no job: the first in the line may be deleted or suspended when there
is room for the second.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from datetime import datetime

from slipway.api.common.scheduling import GangScheduler, Preemption, ScaleUp
from slipway.api.common.types import GROUP
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from slipway.gang import lifecycle
from slipway.gang.policy.elastic import Nodes
from slipway.gang.state import Hold
from slipway.queueing.backfill import Decision, Waiting, decide
from slipway.queueing.cluster_capacity import Demand, Floor, takes
from slipway.queueing.preemption import Contest
from slipway.queueing.quota import Defaults, Quotas, defaults_of
from slipway.queueing.resources import PLACE, REQUESTS, usable
from slipway.reconcile.labels import ATTEMPT, REPLICA_INDEX
from slipway.reconcile.pods.members import members
from slipway.reconcile.run_state import Run, read_run
from slipway.runtime.caching.cache import Cache, Change
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import (
    LIMIT_RANGES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    QUOTAS,
    Object,
    Resource,
    name_of,
    namespace_of,
    parent_of,
    uid_of,
)
from slipway.runtime.clock import utc_now
from slipway.trainingjob.claim import Claim, add, bill_of, contenders, demand_of, node_of, pause_end, run_of
from slipway.trainingjob.job import TRAINING_JOBS, Cluster
from slipway.trainingjob.relevance import BOUNDS, matters

NOTHING = Decision((), {})
# In MiB; NVIDIA's GPU feature discovery puts it on nodes.
GPU_MEMORY = "nvidia.com/gpu.memory"


# Pods of a gang end one by one: a decision about hundreds of gangs takes tens of milliseconds, and one is enough.
PAUSE_SECONDS = 0.2

Later = Callable[[float, Callable[[], None]], object]
"""Call something after so many seconds."""


class Admission:
    """`mark_after` has a job looked at again after some seconds; several wishes for one job cost one look."""

    def __init__(
        self,
        cache: Cache,
        mark_after: Callable[[Key, float], None],
        later: Later,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cache, self._clock, self._later = cache, clock, later
        self._jobs, self._pods, self._nodes = cache[TRAINING_JOBS], cache[PODS], cache[NODES]
        self._mark_after = mark_after
        self._gangs: dict[tuple[str, int], Claim | None] = {}
        self._decision = NOTHING
        self._let_in: set[str] = set()
        # Whether the cluster has an autoscaler that acts on pods without a node, as far as it shows.
        self.scales_up = False
        # Namespaces with a gang that waits for nodes to be made.
        self._growing: set[str] = set()
        self._defaults: dict[str, Defaults] | None = None
        # Running jobs that give way, by UID, and to whom.
        self._victims: dict[str, str] = {}
        self._classes: dict[str, Object] | None = None
        self._stale = True
        # Whether the next decision has its time already.
        self._due = False

    def hold(self, job: Object) -> Hold | None:
        """Why the job's gang must wait, or None if it may be created, or waits for nobody."""
        if not self._waits(job, read_run(job.get("status") or {})) or uid_of(job) in self._let_in:
            return None
        key = Key(namespace_of(job), name_of(job))
        if key not in self._decision.waiting or (self._stale and not self._due):
            # Who comes out of a pause after a refusal is in no decision yet. Who is in one is woken by the next.
            self._decide()
        place = self._decision.waiting.get(key)
        return Hold(**vars(place)) if place is not None else None

    def view(self, job: Object) -> Cluster:
        """What the plan must know of the cluster."""
        if self._stale and uid_of(job) in self._victims:
            self._decide()
        gives_way = self._victims.get(uid_of(job), "")
        return Cluster(self.hold(job), self._gpu_bytes(job), lets_in=True, gives_way=gives_way)

    def _gpu_bytes(self, job: Object) -> int | None:
        gang = self._gang(job) if (job.get("spec") or {}).get("strategy") else None
        if gang is None:
            return None
        nodes = [node_of(node, {}, {}) for node in self._nodes if usable(node)]
        told = [node.labels.get(GPU_MEMORY, "") for node in nodes if takes(node, gang.demand)]
        return min((int(mebibytes) * 2**20 for mebibytes in told if mebibytes.isdecimal()), default=None)

    def changed(self, resource: Resource, change: Change) -> None:
        """Note what may change a decision; while gangs wait, another one follows soon, which wakes whom it lets in."""
        if not matters(resource, change):
            return
        if resource is LIMIT_RANGES:
            self._defaults = None
        if resource is PRIORITY_CLASSES:
            self._classes = None
        if resource in BOUNDS and not any(_of_namespace(key, change.key.namespace) for key in self._decision.waiting):
            return
        self._stale = True
        if self._decision.waiting and not self._due:
            self._due = True
            self._later(PAUSE_SECONDS, self._look)

    def _look(self) -> None:
        self._due = False
        if self._stale:
            self._decide()

    def _decide(self) -> None:
        jobs = [(job, run) for job in self._jobs if (run := run_of(job)) is not None]
        waiting = [(job, run) for job, run in jobs if self._waits(job, run) and uid_of(job) not in self._let_in]
        quotas = Quotas(self._cache.get(QUOTAS) or ())
        self._growing = set()
        floor = self._floor(jobs, quotas)
        before = set(self._decision.waiting)
        contest = Contest(lambda: contenders(jobs, self._pods, self._gang, self._priority))
        self._decision = decide(floor, self._line(waiting), quotas, self._growing, contest)
        self._stale = False
        known = {uid_of(job) for job, _ in jobs}
        keys = {Key(namespace_of(job), name_of(job)): uid_of(job) for job, _ in waiting}
        self._let_in = (self._let_in & known) | {keys[key] for key in self._decision.admitted if isinstance(key, Key)}
        self._gangs = {known_as: gang for known_as, gang in self._gangs.items() if known_as[0] in known}
        uids = {_key(job): uid_of(job) for job, _ in jobs} if self._decision.victims else {}
        self._victims = {uids[key]: name for key, name in self._decision.victims.items() if isinstance(key, Key)}
        for key in self._decision.victims:
            if isinstance(key, Key):
                self._mark_after(key, 0)
        for key in self._decision.admitted:
            if key in before and isinstance(key, Key):
                self._mark_after(key, 0)

    def _line(self, waiting: list[tuple[Object, Run]]) -> Iterator[Waiting]:
        for job, run in waiting:
            gang = self._gang(job)
            if gang is not None:
                age = job["metadata"].get("creationTimestamp") or ""
                # A gang that was running before goes first: it has a checkpoint, and somebody waits for it.
                # The class goes before all: else a gang that gave way would be the first to come back.
                priority, preempts = self._priority(gang.spec)
                rank = (-priority, run.start_time is None, -gang.spec.scheduling.priority, age, *_key(job))
                grows = gang.spec.scheduling.scale_up
                wakes = grows is ScaleUp.PODS or (self.scales_up and grows is ScaleUp.AUTO)
                yield Waiting(_key(job), rank, gang.demand, gang.bill, wakes, preempts, priority)

    def _priority(self, spec: TrainingJobSpec) -> tuple[int, bool]:
        """The value of its pods' PriorityClass, and whether that preempts others; 0 and no where it is not known."""
        if self._classes is None:
            found = self._cache.get(PRIORITY_CLASSES) or ()
            self._classes = {
                name: one for one in found for name in (name_of(one), *([""] * bool(one.get("globalDefault"))))
            }
        known = self._classes.get(spec.pod.priority_class_name or "") or {}
        asked = spec.scheduling.preemption is Preemption.PRIORITY_CLASS and bool(known)
        return known.get("value") or 0, asked and known.get("preemptionPolicy") != "Never"

    def _waits(self, job: Object, run: Run) -> bool:
        """Whether its pods are still to be created, and nobody else decides when."""
        policy = (job.get("spec") or {}).get("runPolicy") or {}
        if run.finished or run.attempt_time is not None or policy.get("suspend") or lifecycle.left_alone(job):
            self._let_in.discard(uid_of(job))
            return False
        until = pause_end(job)
        if until is not None and until > self._clock():
            # The server has refused its pods: whoever is before it in the line by then goes first.
            self._let_in.discard(uid_of(job))
            return False
        gang = self._gang(job)
        return gang is not None and gang.spec.scheduling.gang is GangScheduler.SLIPWAY

    def _gang(self, job: Object) -> Claim | None:
        known_as = (uid_of(job), job["metadata"].get("generation") or 1)
        if known_as not in self._gangs:
            spec, _ = spec_problems(name_of(job), job.get("spec") or {})
            self._gangs[known_as] = Claim(spec, demand_of(spec), bill_of(spec)) if spec is not None else None
        gang = self._gangs[known_as]
        if self._defaults is None:
            self._defaults = defaults_of(self._cache.get(LIMIT_RANGES) or ())
        return gang.within(self._defaults.get(namespace_of(job))) if gang is not None else None

    def _floor(self, jobs: list[tuple[Object, Run]], quotas: Quotas) -> Floor:
        """What is free once all pods that have been promised a place have one; their quota is taken, too."""
        used: dict[str, dict[str, int]] = {}
        foreign: dict[str, dict[str, int]] = {}
        for pod in self._pods:
            node = pod["spec"][PLACE]
            if not node or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                continue
            add(used.setdefault(node, {}), pod["spec"].get(REQUESTS) or {})
            parent = parent_of(pod)
            if parent is None or parent.group != GROUP:
                add(foreign.setdefault(node, {}), pod["spec"].get(REQUESTS) or {})
        floor = Floor(node_of(node, used, foreign) for node in self._nodes if usable(node))
        for job, run in jobs:
            promised = self._promised(job, run)
            if promised is not None and promised.count > 0:
                placed = floor.pack(promised, partly=True) or {}
                floor.take(placed, promised.each)
                if sum(placed.values()) < promised.count:
                    self._growing.add(namespace_of(job))
            self._charge(job, run, quotas)
        return floor

    def _promised(self, job: Object, run: Run) -> Demand | None:
        """Pods of a gang that was let in and that have no node yet; a gang that a quota refuses promises nothing."""
        let_in = run.attempt_time is not None or uid_of(job) in self._let_in
        if run.finished or not let_in:
            return None
        gang = self._gang(job)
        if gang is None:
            return None
        mine = self._gang_of(job, run, gang.spec)
        bound = Counter(pod["spec"][PLACE] for pod in mine if pod["spec"][PLACE])
        return replace(gang.demand, count=max(len(mine), gang.demand.count) - bound.total(), there=bound)

    def _charge(self, job: Object, run: Run, quotas: Quotas) -> None:
        """Pods of a gang that is being created: the server counts those that are there."""
        gang = self._gang(job) if uid_of(job) in self._let_in and run.attempt_time is None else None
        if gang is not None and not run.finished:
            missing = gang.demand.count - len(self._gang_of(job, run, gang.spec))
            quotas.take(namespace_of(job), gang.bill, max(0, missing))

    def _gang_of(self, job: Object, run: Run, spec: TrainingJobSpec) -> list[Object]:
        """The pods of the attempt. More than the job can have would be promised room at the others' expense."""
        status = job.get("status") or {}
        made = (status.get("replicaStatuses") or {}).get("desired") or 0
        indices = Nodes.read(status["elastic"]).indices if "elastic" in status else range(max(made, spec.num_nodes))
        wanted = {(str(index), str(run.attempt)) for index in indices}
        return [p for p in members(self._pods, job, TRAINING_JOBS) if _place_in_gang(p) in wanted]


def _of_namespace(key: Hashable, namespace: str) -> bool:
    return isinstance(key, Key) and key.namespace == namespace


def _place_in_gang(pod: Object) -> tuple[str, str]:
    marks = pod["metadata"]["labels"]
    return marks[REPLICA_INDEX], marks[ATTEMPT]


def _key(job: Object) -> Key:
    return Key(namespace_of(job), name_of(job))
