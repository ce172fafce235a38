"""Whoever can start is woken at once, in whatever order things happen: nobody waits for his own next look, a minute on.

An orphan's pods had ended when its job was gone already. The first in the line was that job, nobody woke the second,
and a gang with room for all its pods began 60 s after its creation.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.queueing.resources import PLACE, REQUESTS
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import NODES, PODS, PRIORITY_CLASSES, QUOTAS, Object
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.queueing.queue_world import GPU, Cluster

NAMES = ("one", "two", "three", "four")
PLACES = ("a", "b", "c")
BEGAN = "2026-01-01T00:00:00Z"
SPREAD = [{"topologyKey": "host", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]
# Gangs of different kinds: one that preempts, one that is spread, one that an autoscaler may see.
SPECS: dict[str, Any] = {
    "two": {"scheduling": {"preemption": "PriorityClass"}, "pod": {"priorityClassName": "high"}},
    "three": {"scheduling": {"topologySpread": SPREAD}},
    "four": {"scheduling": {"scaleUp": "Pods", "priority": 3}},
}


class World(Cluster):
    """A cluster whose jobs are reconciled when they change or are woken, and at no other time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, int] = {}
        self.suspended: set[str] = set()
        for name in PLACES:
            self.node(name, host=name)

    # What the operator does.

    def reconcile_all(self) -> None:
        """Until nothing is left to do."""
        for _ in range(100):
            if not self.woken:
                return
            self.reconcile(self.woken.pop(0))
        pytest.fail("it never comes to rest")

    def reconcile(self, name: str) -> None:
        job = self.cache[TRAINING_JOBS].get("n", name)
        if job is None or (job.get("status") or {}).get("completionTime"):
            return
        if name in self.suspended:
            self.status(name, {})
            self.end(name)
        elif self.admission.view(job).hold is None and "attemptTime" not in (job.get("status") or {}):
            for index in range(self.sizes[name]):
                self.pod(f"{name}-node-{index}-a0", "", job=name, index=index)
            # Our own write, of which the cache tells nobody.
            self.status(name, {"attemptTime": BEGAN, "replicaStatuses": {"desired": self.sizes[name]}}, quiet=True)

    def status(self, name: str, status: Object, *, quiet: bool = False) -> None:
        spec: dict[str, Any] = {"runPolicy": {"suspend": name in self.suspended}}
        self.version += 1
        known = self.cache[TRAINING_JOBS].get("n", name)
        assert known is not None
        marks = known["metadata"] | {"resourceVersion": str(self.version)}
        self.cache[TRAINING_JOBS].put(
            {**known, "metadata": marks, "spec": {**known["spec"], **spec}, "status": status}, quiet=quiet
        )

    # What happens.

    def create(self, name: str, size: int) -> None:
        if self.cache[TRAINING_JOBS].get("n", name) is None and not self.pods_of(name):
            self.sizes[name] = size
            self.suspended.discard(name)
            self.job(name, size, **SPECS.get(name, {}))
            self.woken.append(name)

    def delete(self, name: str) -> None:
        if self.cache[TRAINING_JOBS].get("n", name) is not None:
            self.tell(TRAINING_JOBS, name, "DELETED", spec={}, status={})
            self.woken.append(name)

    def suspend(self, name: str) -> None:
        job = self.cache[TRAINING_JOBS].get("n", name)
        if job is None:
            return
        self.suspended ^= {name}
        self.version += 1
        generation = job["metadata"]["generation"] + 1
        marks = job["metadata"] | {"generation": generation, "resourceVersion": str(self.version)}
        spec = {**job["spec"], "runPolicy": {"suspend": name in self.suspended}}
        self.cache.observe(TRAINING_JOBS, "MODIFIED", {**job, "metadata": marks, "spec": spec})
        self.woken.append(name)

    def finish(self, name: str) -> None:
        job = self.cache[TRAINING_JOBS].get("n", name)
        if job is not None and (job.get("status") or {}).get("attemptTime"):
            done = [{"type": "Succeeded", "status": "True", "lastTransitionTime": BEGAN}]
            self.status(name, {"completionTime": BEGAN, "attemptTime": BEGAN, "conditions": done})
            for pod in self.pods_of(name):
                self.change(pod, "Succeeded")

    def bind(self, place: str) -> None:
        """A scheduler puts pods on free nodes, this one first: not always where the operator meant them to go."""
        taken = {pod["spec"][PLACE] for pod in self.cache[PODS] if (pod["spec"].get(REQUESTS) or {}).get(GPU)}
        free = [name for name in (place, *PLACES) if name not in taken]
        waiting = [pod for pod in self.cache[PODS] if pod["status"].get("phase") == "Pending"]
        for pod, name in zip(
            sorted(waiting, key=lambda pod: str(pod["metadata"]["name"])), dict.fromkeys(free), strict=False
        ):
            self.change(pod, "Running", name)

    def end(self, name: str) -> None:
        for pod in self.pods_of(name):
            self.remove(pod)

    def terminate(self, name: str) -> None:
        """Its pods are told to go, and have not gone."""
        for pod in self.pods_of(name):
            self.change(pod, pod["status"].get("phase") or "Pending", deletionTimestamp=BEGAN)

    def strange(self, place: str) -> None:
        """Somebody's pod comes, or goes if it is there."""
        there = self.cache[PODS].get("n", f"strange-{place}")
        if there is not None:
            self.remove(there)
        elif all(pod["spec"][PLACE] != place for pod in self.cache[PODS]):
            self.pod(f"strange-{place}", place)

    def shrink(self, place: str) -> None:
        """Somebody's pod is resized in place."""
        if self.cache[PODS].get("n", f"strange-{place}") is not None:
            self.pod(f"strange-{place}", place, gpus=0)

    def toggle(self, place: str) -> None:
        node = self.cache[NODES].get("", place)
        assert node is not None
        ready = node["status"]["conditions"][0]["status"] == "True"
        self.node(place, ready="False" if ready else "True", host=place)

    def relabel(self, place: str) -> None:
        """A node is another one by its labels and by what it has."""
        self.node(place, gpus=8, host="a")

    def outrank(self, place: str) -> None:
        """A PriorityClass is made, or changed."""
        self.tell(PRIORITY_CLASSES, "high", value=PLACES.index(place))

    def quota(self, place: str) -> None:
        """It comes, or goes."""
        if self.cache[QUOTAS].get("n", "q") is not None:
            self.tell(QUOTAS, "q", "DELETED")
        else:
            hard = {"pods": str(PLACES.index(place) + 1)}
            self.tell(QUOTAS, "q", spec={"hard": hard}, status={"hard": hard, "used": {"pods": "0"}})

    def again(self, name: str) -> None:
        """Another operator: it looks at each job once."""
        self.restart()
        self.woken.extend(sorted(self.sizes))

    def pods_of(self, name: str) -> list[Object]:
        return [pod for pod in self.cache[PODS] if pod["metadata"]["name"].startswith(f"{name}-node")]

    def change(self, pod: Object, phase: str, place: str = "", **marks: Any) -> None:
        name = pod["metadata"]["name"]
        job, index = name.split("-node-")[0], int(name.split("-")[-2])
        self.pod(name, place or pod["spec"][PLACE], phase=phase, job=job, index=index, **marks)

    def remove(self, pod: Object) -> None:
        self.version += 1
        gone = pod["metadata"] | {"resourceVersion": str(self.version)}
        self.cache.observe(PODS, "DELETED", {**pod, "metadata": gone})


JOB = st.sampled_from(NAMES)
HAPPENINGS_AT_A_PLACE = ["bind", "bind", "strange", "shrink", "toggle", "relabel", "quota", "outrank"]
HAPPENING = st.one_of(
    st.tuples(st.just("create"), JOB, st.integers(1, 3)),
    st.tuples(st.sampled_from(["delete", "suspend", "finish", "end", "terminate", "again"]), JOB),
    st.tuples(st.sampled_from(HAPPENINGS_AT_A_PLACE), st.sampled_from(PLACES)),
)


def forgotten(world: World) -> list[str]:
    """Gangs that wait although an operator that starts now would let them in."""
    fresh = type(world).__new__(type(world))
    fresh.__dict__.update(world.__dict__)
    fresh.restart()
    found = []
    for job in world.cache[TRAINING_JOBS]:
        status, name = job.get("status") or {}, job["metadata"]["name"]
        waits = name not in world.suspended and not (status.get("attemptTime") or status.get("completionTime"))
        if waits and fresh.admission.view(job).hold is None:
            found.append(name)
    return found


@settings(max_examples=120, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=len(NAMES)), st.lists(HAPPENING, max_size=20))
def test_no_gang_that_could_start_waits_for_its_next_look(sizes: list[int], then: list[tuple[Any, ...]]) -> None:
    world = World()
    begin = [step for name, size in zip(NAMES, sizes, strict=False) for step in (("create", name, size), ("bind", "a"))]
    for what, *about in (*begin, *then):
        getattr(world, what)(*about)
        world.reconcile_all()
        assert forgotten(world) == [], (what, about)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=len(NAMES)), st.lists(HAPPENING, max_size=20))
def test_decisions_are_those_of_an_operator_that_reads_everything_anew(
    sizes: list[int], then: list[tuple[Any, ...]]
) -> None:
    world = World()
    begin = [step for name, size in zip(NAMES, sizes, strict=False) for step in (("create", name, size), ("bind", "a"))]
    for what, *about in (*begin, *then):
        getattr(world, what)(*about)
        kept = world.admission
        let_in = set(kept._let_in)
        world.restart()
        world.admission._let_in = set(let_in)
        for admission in (kept, world.admission):
            admission._decide()
        for told in ("_decision", "_let_in", "_victims", "_growing"):
            assert getattr(kept, told) == getattr(world.admission, told), (what, about)
        world.admission = kept
        kept._let_in = let_in
        world.reconcile_all()


def test_the_job_first_in_the_line_is_deleted_before_its_pods_are_gone() -> None:
    """As a namespace is: its pods are told to go, the job wants new ones and is first in the line, and is gone."""
    cluster = Cluster()
    for index, name in enumerate("ab"):
        cluster.node(name)
        cluster.pod(f"orphan-node-{index}-a0", name, job="orphan", index=index)
    cluster.job("orphan", 2, status={"attempt": 1, "startTime": BEGAN})
    assert cluster.held("orphan").startswith("1/1 room for 0 of 2 pods")
    cluster.job("next", 2)
    assert cluster.held("next").startswith("2/2 room for 0 of 2 pods")
    cluster.tell(TRAINING_JOBS, "orphan", "DELETED", spec={}, status={})
    cluster.woken.clear()
    cluster.tell(PODS, "orphan-node-0-a0", "DELETED", spec={}, status={})
    assert cluster.woken == []
    cluster.tell(PODS, "orphan-node-1-a0", "DELETED", spec={}, status={})
    assert cluster.woken == ["next"]
    assert cluster.admission.view(cluster.cache[TRAINING_JOBS].get(*Key("n", "next"))).hold is None
