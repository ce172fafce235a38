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
from functools import partial

from slipway.api.common.scheduling import GangScheduler, Preemption, ScaleUp
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from slipway.gang.policy.elastic import Nodes
from slipway.gang.state import Hold
from slipway.queueing.backfill import Decision, PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand
from slipway.queueing.occupancy import Occupancy
from slipway.queueing.preemption import Preemptions
from slipway.queueing.quota import Defaults, Quotas, defaults_of
from slipway.queueing.resources import PLACE
from slipway.reconcile.labels import ATTEMPT, REPLICA_INDEX
from slipway.reconcile.pods.members import members
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
    uid_of,
)
from slipway.runtime.clock import running_seconds, utc_now
from slipway.trainingjob.job import TRAINING_JOBS, Cluster
from slipway.trainingjob.queueing.claim import Claim, claim_of, pause_end
from slipway.trainingjob.queueing.relevance import BOUNDS, matters
from slipway.trainingjob.queueing.running_gangs import running_gangs
from slipway.trainingjob.queueing.standing import Standing, Standings

NOTHING = Decision((), {})
# In MiB; NVIDIA's GPU feature discovery puts it on nodes.
GPU_MEMORY = "nvidia.com/gpu.memory"


# Pods of a gang end one by one: a decision about hundreds of gangs takes tens of milliseconds, and one is enough.
PAUSE_SECONDS = 0.2
# Times what the last one took: while all is in motion, decisions have an eighth of the event loop at most.
LEAST_PAUSE = 8.0

Later = Callable[[float, Callable[[], None]], object]
"""Call something after so many seconds."""


class Admission:
    """Admission of the gangs that wait for room.

    `mark_after` has a job looked at again after some seconds; several wishes for one job cost one look.
    """

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
        self._gangs: dict[tuple[str, int, bool], Claim | None] = {}
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
        # How often what all claims lean on was another one.
        self._epoch = 0
        self._occupancy = Occupancy(self._nodes, self._pods)
        self._standings = Standings()
        self._stale = True
        # Whether the next decision has its time already.
        self._due = False
        self._pause = PAUSE_SECONDS

    def hold(self, job: Object) -> Hold | None:
        """Reason for the job's gang to wait, or None if it may be created, or waits for nobody."""
        one = self._standings.of(job)
        if one is None or not self._waits(one) or one.uid in self._let_in:
            return None
        key = one.key
        if key not in self._decision.waiting or (self._stale and not self._due):
            # Who comes out of a pause after a refusal is in no decision yet. Who is in one is woken by the next.
            self._decide()
        place = self._decision.waiting.get(key)
        return Hold(**vars(place)) if place is not None else None

    def view(self, job: Object) -> Cluster:
        """State of the cluster that the job's plan must know."""
        if self._stale and uid_of(job) in self._victims:
            self._decide()
        gives_way = self._victims.get(uid_of(job), "")
        return Cluster(self.hold(job), self._gpu_bytes(job), lets_in=True, gives_way=gives_way)

    def _gpu_bytes(self, job: Object) -> int | None:
        one = self._standings.of(job) if (job.get("spec") or {}).get("strategy") else None
        gang = self._gang(one) if one is not None else None
        if gang is None:
            return None
        told = [node.labels.get(GPU_MEMORY, "") for node in self._occupancy.nodes(gang.demand)]
        return min((int(mebibytes) * 2**20 for mebibytes in told if mebibytes.isdecimal()), default=None)

    def changed(self, resource: Resource, change: Change) -> None:
        """Note what may change a decision; while gangs wait, another one follows soon, which wakes whom it lets in."""
        if not matters(resource, change):
            return
        if resource is PODS:
            self._occupancy.pod_changed(change)
        if resource is NODES:
            self._occupancy.node_changed(change)
        if resource in (LIMIT_RANGES, PRIORITY_CLASSES):
            self._defaults, self._classes, self._epoch = None, None, self._epoch + 1
        if resource in BOUNDS and not any(_of_namespace(key, change.key.namespace) for key in self._decision.waiting):
            return
        self._stale = True
        if self._decision.waiting and not self._due:
            self._due = True
            self._later(self._pause, self._look)

    def _look(self) -> None:
        self._due = False
        if self._stale:
            self._decide()

    def _decide(self) -> None:
        began = running_seconds()
        jobs = self._standings.read(self._jobs)
        self._let_in.difference_update(one.uid for one in jobs if one.out)
        waiting = [one for one in jobs if not one.out and self._waits(one) and one.uid not in self._let_in]
        quotas = Quotas(self._cache.get(QUOTAS) or ())
        self._growing = set()
        capacity = self._floor(jobs, quotas)
        before = self._decision.waiting
        contest = Preemptions(lambda: running_gangs(jobs, self._pods, self._gang, self._priority))
        self._decision = decide(capacity, self._line(waiting), quotas, self._growing, contest)
        self._occupancy.forget(capacity)
        self._stale = False
        known = {one.uid for one in jobs}
        uids = {one.key: one.uid for one in jobs} if self._decision.admitted or self._decision.victims else {}
        admitted = [key for key in self._decision.admitted if isinstance(key, Key)]
        self._let_in = (self._let_in & known) | {uids[key] for key in admitted}
        self._gangs = {known_as: gang for known_as, gang in self._gangs.items() if known_as[0] in known}
        self._victims = {uids[key]: name for key, name in self._decision.victims.items() if isinstance(key, Key)}
        for key in (*self._decision.victims, *admitted):
            if isinstance(key, Key) and (key in before or key in self._decision.victims):
                self._mark_after(key, 0)
        self._pause = max(PAUSE_SECONDS, LEAST_PAUSE * (running_seconds() - began))

    def _line(self, waiting: list[Standing]) -> Iterator[PendingGang]:
        for one in waiting:
            found = one.remembered("waiting", (self._epoch, self.scales_up), partial(self._waiting, one))
            if found is not None:
                yield found

    def _waiting(self, one: Standing) -> PendingGang | None:
        gang = self._gang(one)
        if gang is None:
            return None
        age = one.job["metadata"].get("creationTimestamp") or ""
        # A gang that was running before goes first: it has a checkpoint, and somebody waits for it.
        # The class goes before all: else a gang that gave way would be the first to come back.
        priority, preempts = self._priority(gang.spec)
        rank = (-priority, one.run.start_time is None, -gang.spec.scheduling.priority, age, *one.key)
        grows = gang.spec.scheduling.scale_up
        wakes = grows is ScaleUp.PODS or (self.scales_up and grows is ScaleUp.AUTO)
        return PendingGang(one.key, rank, gang.demand, gang.charge, wakes, preempts, priority)

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

    def _waits(self, one: Standing) -> bool:
        """Tell whether a job's pods are still to be created, and nobody else decides when."""
        until = None if one.out else pause_end(one.job)
        if one.out or (until is not None and until > self._clock()):
            # The server has refused its pods: whoever is before it in the line by the pause's end goes first.
            self._let_in.discard(one.uid)
            return False
        gang = self._gang(one)
        return gang is not None and gang.spec.scheduling.gang is GangScheduler.SLIPWAY

    def _gang(self, one: Standing) -> Claim | None:
        return one.remembered("claim", self._epoch, partial(self._claim, one.job))

    def _claim(self, job: Object) -> Claim | None:
        copied = (job.get("status") or {}).get("runtime")
        known_as = (uid_of(job), job["metadata"].get("generation") or 1, bool(copied))
        if known_as not in self._gangs:
            spec, _ = spec_problems(name_of(job), job.get("spec") or {})
            self._gangs[known_as] = claim_of(spec, copied) if spec is not None else None
        gang = self._gangs[known_as]
        if self._defaults is None:
            self._defaults = defaults_of(self._cache.get(LIMIT_RANGES) or ())
        return gang.within(self._defaults.get(namespace_of(job))) if gang is not None else None

    def _floor(self, jobs: list[Standing], quotas: Quotas) -> ClusterCapacity:
        """Room that is free once all pods that have been promised a place have one; their quota is taken, too."""
        capacity = self._occupancy.capacity()
        for one in jobs:
            promised = self._promised(one)
            if promised is not None and promised.count > 0:
                placed = capacity.pack(promised, partly=True) or {}
                capacity.take(placed, promised.each)
                if sum(placed.values()) < promised.count:
                    self._growing.add(one.key.namespace)
            self._charge(one, quotas)
        return capacity

    def _promised(self, one: Standing) -> Demand | None:
        """Pods of a gang that was let in and that have no node yet; a gang that a quota refuses promises nothing."""
        if one.run.finished or not (one.run.attempt_time is not None or one.uid in self._let_in):
            return None
        as_of = self._pods.moved(one.identity), self._epoch
        return one.remembered("promised", as_of, partial(self._without_node, one))

    def _without_node(self, one: Standing) -> Demand | None:
        # To read thousands of specs at once would hold up the loop at the first decision after a start.
        gang = None if self._is_placed(one) else self._gang(one)
        if gang is None:
            return None
        mine = self._gang_of(one, gang.spec)
        bound = Counter(pod["spec"][PLACE] for pod in mine if pod["spec"][PLACE])
        return replace(gang.demand, count=max(len(mine), gang.demand.count) - bound.total(), there=bound)

    def _is_placed(self, one: Standing) -> bool:
        """Tell whether all pods of the gang have a node, without a look at what they ask for."""
        spec = one.job.get("spec") or {}
        size = spec.get("numNodes", 1)
        mine = members(self._pods, one.job, TRAINING_JOBS)
        if spec.get("elasticPolicy") or not isinstance(size, int):
            return False
        size = max(size, ((one.job.get("status") or {}).get("replicaStatuses") or {}).get("desired") or 0)
        placed = {_place_in_gang(pod) for pod in mine if pod["spec"][PLACE]} if size <= len(mine) else set()
        return bool(placed) and all((str(index), str(one.run.attempt)) in placed for index in range(size))

    def _charge(self, one: Standing, quotas: Quotas) -> None:
        """Take quota for missing pods of a gang that is being created: the server counts those that are there."""
        if one.run.attempt_time is not None or one.run.finished or one.uid not in self._let_in:
            return
        gang = self._gang(one)
        if gang is not None:
            missing = gang.demand.count - len(self._gang_of(one, gang.spec))
            quotas.take(one.key.namespace, gang.charge, max(0, missing))

    def _gang_of(self, one: Standing, spec: TrainingJobSpec) -> list[Object]:
        """The pods of the attempt. More than the job can have would be promised room at the others' expense."""
        status = one.job.get("status") or {}
        made = (status.get("replicaStatuses") or {}).get("desired") or 0
        indices = Nodes.read(status["elastic"]).indices if "elastic" in status else range(max(made, spec.num_nodes))
        wanted = {(str(index), str(one.run.attempt)) for index in indices}
        return [p for p in members(self._pods, one.job, TRAINING_JOBS) if _place_in_gang(p) in wanted]


def _of_namespace(key: Hashable, namespace: str) -> bool:
    return isinstance(key, Key) and key.namespace == namespace


def _place_in_gang(pod: Object) -> tuple[str, str]:
    marks = pod["metadata"]["labels"]
    return marks[REPLICA_INDEX], marks[ATTEMPT]
