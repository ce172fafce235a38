"""Whatever happens to a TrainingJob, in whatever order: no two gangs at once, no decision twice, and it ends.

Hypothesis plays kubelets, users, lost nodes, lagging watches, refused writes and a dying operator against the real
queue, controller, cache, plan and executor; only the API server is simulated (sim_server.py).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from slipway.runtime.client.resource import PODS, Object, Resource
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.machine.choices import EDITS, EXITS, NODES, SPECS, THEN, TROUBLE, WATCHED, WHICH
from tests.unit.trainingjob.machine.ending import Ending
from tests.unit.trainingjob.sim_world import NAME


class JobMachine(Ending):
    """One job name, through all that can happen to it."""

    @initialize(spec=SPECS)
    def begin(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.world.create_job(spec)
        self.world.settle()

    def _then(self, then: str) -> None:
        world = self.world
        if then == "settle":
            world.settle()
        elif then == "look":
            world.process.deliver(PODS, 1)
            world.process.deliver(TRAINING_JOBS, 1)
            world.work()

    # What the cluster does.

    @rule(then=THEN, on_both=st.booleans())
    def pods_start(self, then: str, on_both: bool) -> None:
        live = sorted({"node-a", "node-b"} - self.world.lost)[: 2 if on_both else 1]
        waiting = [p for p in self.world.pods if p["status"]["phase"] == "Pending"]
        for number, pod in enumerate(waiting if live else []):
            self.world.start_pod(pod, live[number % len(live)])
        self._then(then)

    @precondition(lambda self: self._running())
    @rule(which=WHICH, how=EXITS, then=THEN)
    def pod_ends(self, which: int, how: tuple[int, str], then: str) -> None:
        self.world.end_pod(_one_of(self._running(), which), *how)
        self._then(then)

    @precondition(lambda self: self._running())
    @rule(then=THEN)
    def pods_end_well(self, then: str) -> None:
        for pod in self._running():
            self.world.end_pod(pod, 0)
        self._then(then)

    @precondition(lambda self: self._going())
    @rule(which=WHICH, then=THEN)
    def pod_goes(self, which: int, then: str) -> None:
        self.world.server.remove(PODS, _one_of(self._going(), which)["metadata"]["name"])
        self._then(then)

    @precondition(lambda self: self._going())
    @rule(then=THEN)
    def pods_go(self, then: str) -> None:
        for pod in self._going():
            self.world.server.remove(PODS, pod["metadata"]["name"])
        self._then(then)

    @precondition(lambda self: not self.world.lost and self._running())
    @rule(node=NODES, then=THEN, evicted=st.booleans())
    def node_falls_silent(self, node: str, then: str, evicted: bool) -> None:
        self.world.lose_node(node)
        for pod in self.world.pods if evicted else []:
            if pod["spec"].get("nodeName") == node:
                self.world.server.delete(PODS, pod["metadata"]["name"])
        self._then(then)

    @precondition(lambda self: self.world.lost)
    @rule()
    def nodes_come_back(self) -> None:
        self.world.lost.clear()

    # What people do.

    @precondition(lambda self: self.world.pods)
    @rule(which=WHICH, grace=st.sampled_from([None, 0]), then=THEN)
    def somebody_deletes_a_pod(self, which: int, grace: int | None, then: str) -> None:
        pod = _one_of(self.world.pods, which)
        self.world.server.delete(PODS, pod["metadata"]["name"], grace=grace)
        self._then(then)

    @precondition(lambda self: self.world.job)
    @rule(what=EDITS, then=THEN)
    def user_edits(self, what: tuple[str, Any], then: str) -> None:
        field, value = what
        if field == "suspend":
            value = not self.world.job["spec"]["runPolicy"]["suspend"]  # type: ignore[index]
        self.world.edit((field,) if field == "numNodes" else ("runPolicy", field), value)
        self._then(then)

    @precondition(lambda self: self.world.job)
    @rule(spec=SPECS, sure=st.integers(0, 3), again=st.booleans(), then=THEN)
    def user_deletes_the_job(self, spec: dict[str, Any], sure: int, again: bool, then: str) -> None:
        if sure == 3:
            self.world.server.delete(TRAINING_JOBS, NAME)
            self._then(then)
            if again:
                self.user_creates_it_again(spec, then)

    @precondition(lambda self: not self.world.job)
    @rule(spec=SPECS, then=THEN)
    def user_creates_it_again(self, spec: dict[str, Any], then: str) -> None:
        self.spec = spec
        self.world.create_job(spec)
        self._then(then)

    @rule(what=TROUBLE, then=THEN)
    def trouble(self, what: tuple[str, Any], then: str) -> None:
        kind, value = what
        kube = self.world.process.kube
        if kind == "quota":
            self.world.server.pod_quota = value
        elif kind == "stranger":
            self._a_stranger_comes(*value)
        elif kind == "strangers go":
            self._remove_strangers()
        elif kind == "garbage":
            self.world.server.collect_garbage()
        elif kind == "watch down":
            self.world.process.skip(value)
        elif kind == "write fails":
            kube.fail_next = value
        elif kind == "will die":
            kube.crash_at, kube.crash_first = kube.writes + value[0], value[1]
        elif kind == "dies":
            self.world.restart()
        self._then(then)

    # What happens to the operator.

    @rule(resource=WATCHED, count=st.sampled_from([1, 2, None]))
    def a_watch_delivers(self, resource: Resource, count: int | None) -> None:
        self.world.process.deliver(resource, count)
        self.world.work()

    @rule(seconds=st.sampled_from([0.4, 1, 7, 31, 400]), then=THEN)
    def time_passes(self, seconds: float, then: str) -> None:
        self.world.clock.seconds += seconds
        self._then(then)

    @rule(then=THEN)
    def time_passes_to_the_next_deadline(self, then: str) -> None:
        self._to_next_due()
        self._then(then)

    def _a_stranger_comes(self, plural: str, attempt: int) -> None:
        names = {"pods": f"{NAME}-node-0-a{attempt}", "configmaps": f"{NAME}-job", "services": f"{NAME}-nodes"}
        resource = PODS if plural == "pods" else Resource("", "v1", plural, "Any")
        if (plural, names[plural]) not in self.world.server.objects:
            self.world.server.create(resource, {"metadata": {"name": names[plural]}, "spec": {}})
            self.strangers.add((plural, names[plural]))


def _one_of(pods: list[Object], which: int) -> Object:
    return pods[which % len(pods)]


_QUICK = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EFFORT", "1")) * 150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)

TestJob = JobMachine.TestCase
TestJob.settings = _QUICK


class SlowJobMachine(JobMachine):
    """The same, at length."""


TestJobAtLength = pytest.mark.slow(SlowJobMachine.TestCase)
TestJobAtLength.settings = settings(_QUICK, max_examples=3000, stateful_step_count=60)
