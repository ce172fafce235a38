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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from slipway.job.run import read_run
from slipway.runtime import conditions
from slipway.runtime.conditions import parse_time
from slipway.runtime.resource import PODS, Object, Resource, uid_of
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import NAME, World

EXITS = st.sampled_from([(0, ""), (1, ""), (137, ""), (137, "OOMKilled"), (3, ""), (134, "")])
RULES: list[dict[str, Any]] = [
    {"action": "FailJob", "onExitCodes": {"values": [3]}},
    {"action": "RestartIgnoreMaxRestarts", "onReasons": ["OOMKilled"]},
]
SPECS = st.fixed_dictionaries(
    {
        "numNodes": st.integers(1, 3),
        "trainer": st.just({"command": ["train"]}),
        "pod": st.just({"terminationGracePeriodSeconds": 30}),
        "runPolicy": st.fixed_dictionaries(
            {
                "suspend": st.sampled_from([False, False, False, True]),
                "cleanPodPolicy": st.sampled_from(["None", "Running", "All"]),
            },
            optional={
                "activeDeadlineSeconds": st.sampled_from([20, 500]),
                "startupDeadlineSeconds": st.sampled_from([20, 500]),
                "ttlSecondsAfterFinished": st.sampled_from([0, 100]),
            },
        ),
        "failurePolicy": st.fixed_dictionaries(
            {
                "maxRestarts": st.integers(0, 2),
                "nodeLostGraceSeconds": st.sampled_from([0, 10]),
                "rules": st.sampled_from([[], RULES]),
            }
        ),
    }
)
WATCHED = st.sampled_from([TRAINING_JOBS, PODS])
WHICH = st.integers(0, 2)
NODES = st.sampled_from(["node-a", "node-b"])
# Mostly the operator keeps up with what happens; every now and then it does only a part, or nothing yet.
THEN = st.sampled_from(["settle", "settle", "settle", "settle", "look", "wait"])
EDITS = st.sampled_from(
    [
        ("suspend", None),
        ("suspend", None),
        ("numNodes", 0),
        ("numNodes", 2),
        ("numNodes", 3),
        ("activeDeadlineSeconds", 20),
        ("startupDeadlineSeconds", 20),
        ("activeDeadlineSeconds", None),
        ("startupDeadlineSeconds", None),
    ]
)
TROUBLE = st.one_of(
    st.tuples(st.just("quota"), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("stranger"), st.tuples(st.sampled_from(["pods", "configmaps", "services"]), st.integers(0, 1))),
    st.tuples(st.sampled_from(["strangers go", "garbage", "dies"]), st.none()),
    st.tuples(st.just("watch down"), WATCHED),
    st.tuples(st.just("write fails"), st.booleans()),
    st.tuples(st.just("will die"), st.tuples(st.integers(1, 4), st.booleans())),
)


class JobMachine(RuleBasedStateMachine):
    """One job name, through all that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.seen_statuses = 0
        self.seen_births = 0
        self.strangers: set[tuple[str, str]] = set()

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

    # What must hold at every moment.

    @invariant()
    def never_two_gangs_at_once(self) -> None:
        gangs = {(p["metadata"]["ownerReferences"][0]["uid"], _attempt(p)) for p in self.world.alive()}
        assert len(gangs) <= 1, gangs

    @invariant()
    def never_two_pods_for_one_place(self) -> None:
        """Once all pods of an attempt were there, none of them is ever made again."""
        server = self.world.server
        for born in server.born[self.seen_births :]:
            labels = born["metadata"].get("labels") or {}
            owner = (born["metadata"].get("ownerReferences") or [{}])[0].get("uid")
            job = self.world.job
            if "slipway.dev/attempt" not in labels or job is None or uid_of(job) != owner:
                continue
            namesakes = [b for b in server.born if b is not born and b["metadata"]["name"] == born["metadata"]["name"]]
            if any((b["metadata"].get("ownerReferences") or [{}])[0].get("uid") == owner for b in namesakes):
                complete = [
                    after
                    for _, after in server.status_history
                    if uid_of(after) == owner
                    and after["status"].get("attemptTime")
                    and after["status"].get("attempt", 0) == _attempt(born)
                    and int(after["metadata"]["resourceVersion"]) < int(born["metadata"]["uid"].removeprefix("uid-"))
                ]
                assert not complete, f"{born['metadata']['name']} was made twice"
        self.seen_births = len(server.born)

    @invariant()
    def strangers_are_left_alone(self) -> None:
        objects = self.world.server.objects
        for name in self.strangers & objects.keys():
            assert set(objects[name]["metadata"]) == {"name", "namespace", "uid", "generation", "resourceVersion"}
            assert objects[name]["spec"] == {}
            assert "data" not in objects[name]

    @invariant()
    def statuses_only_move_forward(self) -> None:
        history = self.world.server.status_history
        for before, after in history[self.seen_statuses :]:
            self._check_step(before, after)
        self.seen_statuses = len(history)

    def _check_step(self, before: Object, after: Object) -> None:
        old, new = read_run(before.get("status") or {}), read_run(after["status"])
        assert after["status"] != before.get("status"), "a write that changes nothing"
        assert new.attempt >= old.attempt
        assert 0 <= new.restarts - old.restarts <= new.attempt - old.attempt, "a restart is counted once per attempt"
        assert 0 <= new.restarts_towards_max - old.restarts_towards_max <= new.restarts - old.restarts
        if new.restarts_towards_max > old.restarts_towards_max:
            assert new.restarts_towards_max <= after["spec"]["failurePolicy"]["maxRestarts"]
        assert new.finished == (new.completion_time is not None)
        assert not (new.succeeded and new.failed)
        if old.finished:
            assert (new.succeeded, new.failed, new.completion_time) == (
                old.succeeded,
                old.failed,
                old.completion_time,
            )
        if new.completion_time:
            assert new.start_time is not None
            assert new.start_time <= new.completion_time
        self._check_conditions(before, after)

    def _check_conditions(self, before: Object, after: Object) -> None:
        old = (before.get("status") or {}).get("conditions") or []
        new = after["status"]["conditions"]
        assert len({c["type"] for c in new}) == len(new)
        for condition in new:
            past = conditions.get(old, condition["type"])
            if past is not None and past["status"] == condition["status"]:
                assert condition["lastTransitionTime"] == past["lastTransitionTime"]
            else:
                assert parse_time(condition["lastTransitionTime"]) <= self.world.clock.now()
        if conditions.get(new, "Ready")["status"] == "False":  # type: ignore[index]
            assert conditions.is_true(new, "Stalled") or conditions.is_true(new, "Failed")

    # How it must end.

    def teardown(self) -> None:
        try:
            if hasattr(self, "spec"):
                self._heal()
                self._run_to_the_end()
                self._check_the_end()
        finally:
            self.world.loop.close()

    def _heal(self) -> None:
        """Everything that can be in the way goes; time and kubelets do the rest."""
        world = self.world
        kube = world.process.kube
        kube.crash_at, kube.fail_next = None, None
        world.settle()
        world.server.pod_quota = None
        for pod in world.pods:
            # A lost node stays lost; its pods are only marked as deleted, by Kubernetes' node controller.
            if pod["spec"].get("nodeName") in world.lost:
                world.server.delete(PODS, pod["metadata"]["name"])
        self._remove_strangers()
        world.server.collect_garbage()
        if world.job is not None:
            world.edit(("runPolicy", "suspend"), False)
            world.edit(("numNodes",), self._made_for() or 2)
            world.edit(("runPolicy", "startupDeadlineSeconds"), None)
        world.relist()

    def _made_for(self) -> int | None:
        """The node count that the gang was made for: an edit of a running job is to be taken back."""
        status = (self.world.job or {}).get("status") or {}
        if status.get("specDigest") is None:
            return None
        made = [
            after["spec"]["numNodes"]
            for before, after in self.world.server.status_history
            if after["status"].get("specDigest") == status["specDigest"]
            and (before.get("status") or {}).get("specDigest") != status["specDigest"]
        ]
        return int(made[-1])

    def _run_to_the_end(self) -> None:
        world = self.world
        for _ in range(80):
            world.settle()
            if world.job is None or self._finished():
                self._last_duties()
                return
            if not world.kubelet_round():
                self._to_next_due()
                world.clock.seconds += 0.001
        raise AssertionError(f"no end: {world.job and world.job.get('status')}, {world.pods}, due {self._due()}")

    def _last_duties(self) -> None:
        world = self.world
        for _ in range(6):
            for pod in world.pods:
                if pod["metadata"].get("deletionTimestamp") and pod in self._reachable():
                    world.server.remove(PODS, pod["metadata"]["name"])
            world.server.collect_garbage()
            world.settle()
            self._to_next_due()

    def _check_the_end(self) -> None:
        world = self.world
        if world.job is None:
            # What is left on a lost node of a deleted job is the node controller's affair, or a successor's.
            assert not [pod for pod in world.alive() if pod["spec"].get("nodeName") not in world.lost]
            return
        if world.job["spec"]["runPolicy"]["cleanPodPolicy"] != "None":
            assert not world.alive()
        if world.job["spec"]["runPolicy"]["cleanPodPolicy"] == "All":
            assert not world.pods
        world.restart()
        world.settle()
        assert world.process.kube.writes == 0, "a restart at rest writes nothing"
        wants = world.wants()
        assert not wants.writes
        assert not wants.deletes
        assert wants.status in (None, world.job["status"])
        told = [reason for uid, reason in world.notices if uid == uid_of(world.job) and reason == "Succeeded"]
        assert len(told) <= 1

    def _finished(self) -> bool:
        return read_run((self.world.job or {}).get("status") or {}).finished

    def _reachable(self) -> list[Object]:
        return [p for p in self.world.pods if p["spec"].get("nodeName") not in self.world.lost | {None}]

    def _running(self) -> list[Object]:
        return [p for p in self._reachable() if p["status"]["phase"] == "Running"]

    def _going(self) -> list[Object]:
        return [p for p in self._reachable() if p["metadata"].get("deletionTimestamp")]

    def _a_stranger_comes(self, plural: str, attempt: int) -> None:
        names = {"pods": f"{NAME}-node-0-a{attempt}", "configmaps": f"{NAME}-job", "services": f"{NAME}-nodes"}
        resource = PODS if plural == "pods" else Resource("", "v1", plural, "Any")
        if (plural, names[plural]) not in self.world.server.objects:
            self.world.server.create(resource, {"metadata": {"name": names[plural]}, "spec": {}})
            self.strangers.add((plural, names[plural]))

    def _due(self) -> float | None:
        return self.world.process.queue.next_due()

    def _to_next_due(self) -> None:
        due = self._due()
        if due is not None:
            self.world.clock.seconds = max(self.world.clock.seconds, due)

    def _remove_strangers(self) -> None:
        for (plural, name), obj in [*self.world.server.objects.items()]:
            if plural != TRAINING_JOBS.plural and not obj["metadata"].get("ownerReferences"):
                self.world.server.remove(Resource("", "v1", plural, "Any"), name)
                self.strangers.discard((plural, name))


def _attempt(pod: Object) -> int:
    return int(pod["metadata"]["labels"]["slipway.dev/attempt"])


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
