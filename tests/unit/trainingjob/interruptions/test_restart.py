"""A new operator beside a thousand known jobs, in all that can be the matter with one: it writes nothing.

What the operator had heard of pods that did not start was forgotten at a restart: the status of each such job was
written without it, and some seconds later, when the events had been asked for again, once more with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from slipway.gang.reconciler import GangReconciler
from slipway.reconcile.pods.startup_events import FIRST_SECONDS, StartupEvents
from slipway.runtime.client.resource import PODS, Object, Resource
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_server import Kube
from tests.unit.trainingjob.sim_world import World

JOBS = 1000
TRAINER = {"command": ["train"]}
PLACED = {"type": "PodScheduled", "status": "True"}


class Listening(Kube):
    """A server with events: each pod of a node waits for a volume."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.asked = 0

    async def some(self, resource: Resource, namespace: str, *, fields: str, limit: int) -> Sequence[Object]:
        self.asked += 1
        uid = fields.split("involvedObject.uid=")[1].split(",", maxsplit=1)[0]
        said = {"type": "Warning", "reason": "FailedMount", "message": 'configmap "c" not found'}
        return [{"involvedObject": {"uid": uid}, "lastTimestamp": "2026-11-01T12:00:00Z", **said}]


class Known(World):
    """A world whose operator hears of events, by the world's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.listen()

    def listen(self) -> None:
        self.process.kube = Listening(self.server)
        for part in (self.process.jobs._jobs, self.process.jobs._jobs._executor):
            setattr(part, "_kube", self.process.kube)  # noqa: B010
        gang: GangReconciler = self.process.jobs._jobs
        gang._complaints = StartupEvents(self.process.kube, lambda: self.clock.seconds)  # type: ignore[arg-type]

    def restart(self) -> None:
        super().restart()
        self.listen()

    def settle_all(self) -> None:
        """Until no job is due at this moment."""
        while True:
            self.process.deliver(TRAINING_JOBS)
            self.process.deliver(PODS)
            if not self.work():
                return

    def pods_by_job(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for pod in self.pods:
            found.setdefault(pod["metadata"]["labels"]["slipway.dev/job-name"], []).append(pod)
        return found

    def is_told(self, pod: Object, *, node: str = "", **status: Any) -> None:
        pod = copy.deepcopy(pod)
        if node:
            pod["spec"]["nodeName"] = node
        pod["status"] = {"phase": "Pending", **status}
        self.server.store(PODS, pod)


def _run(world: Known, pods: list[Object]) -> None:
    for pod in pods:
        world.start_pod(pod, "node-a")


def _succeed(world: Known, pods: list[Object]) -> None:
    _run(world, pods)
    for pod in pods:
        world.end_pod(world.server.get(PODS, pod["metadata"]["name"]), 0)


def _end_in_part(world: Known, pods: list[Object]) -> None:
    _run(world, pods)
    world.end_pod(world.server.get(PODS, pods[0]["metadata"]["name"]), 0)


def _fail(world: Known, pods: list[Object]) -> None:
    _run(world, pods)
    world.end_pod(world.server.get(PODS, pods[0]["metadata"]["name"]), 1, ago=60)


def _waits_for_a_volume(world: Known, pods: list[Object]) -> None:
    for pod in pods:
        world.is_told(pod, node="node-a", conditions=[PLACED])


def _waits_for_a_node(world: Known, pods: list[Object]) -> None:
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    for pod in pods:
        world.is_told(pod, conditions=[said])


def _waits_for_an_image(world: Known, pods: list[Object]) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling"}
    for pod in pods:
        said = [{"name": "trainer", "state": {"waiting": waiting}}]
        world.is_told(pod, node="node-a", conditions=[PLACED], containerStatuses=said)


def _nothing(world: Known, pods: list[Object]) -> None:
    """No scheduler takes them up."""


STORIES: dict[str, tuple[Callable[[Known, list[Object]], None], dict[str, Any]]] = {
    "runs": (_run, {}),
    "ended": (_succeed, {}),
    "ended-in-part": (_end_in_part, {}),
    "pauses": (_fail, {"failurePolicy": {"maxRestarts": 3, "backoff": {"seconds": 10_000, "maxSeconds": 10_000}}}),
    "failed": (_fail, {"failurePolicy": {"maxRestarts": 0}}),
    "no-volume": (_waits_for_a_volume, {}),
    "no-node": (_waits_for_a_node, {}),
    "no-image": (_waits_for_an_image, {}),
    "no-scheduler": (_nothing, {}),
    "suspended": (_nothing, {"runPolicy": {"suspend": True}}),
    "invalid": (_nothing, {"numNodes": 0}),
    "elastic": (_run, {"elasticPolicy": {"minNodes": 1, "maxNodes": 3}}),
    "no-runtime": (_nothing, {"runtimeRef": {"name": "none"}}),
}


def _make(world: Known, jobs: int) -> None:
    for number in range(jobs):
        story = [*STORIES][number % len(STORIES)]
        spec = {"numNodes": 2, "trainer": TRAINER, "pod": {"terminationGracePeriodSeconds": 30}, **STORIES[story][1]}
        world.server.create(
            TRAINING_JOBS,
            {"metadata": {"name": f"{story}-{number}"}, "spec": spec, "status": {"observedGeneration": -1}},
        )
    world.settle_all()
    for name, pods in world.pods_by_job().items():
        STORIES[name.rpartition("-")[0]][0](world, pods)
    world.settle_all()


def _pass(world: Known, seconds: float) -> None:
    """Time in which nothing happens but what the operator itself has put down for a look."""
    until = world.clock.seconds + seconds
    while (due := world.process.queue.next_due()) is not None and due <= until:
        world.clock.seconds = max(due, world.clock.seconds)
        world.settle_all()
    world.clock.seconds = until


def test_a_restart_beside_a_thousand_known_jobs_writes_nothing() -> None:
    world = Known()
    try:
        _make(world, JOBS)
        # Of all jobs together five pods a second are asked about.
        _pass(world, JOBS)
        told = [one["status"]["conditions"] for one in world.server.all(TRAINING_JOBS)]
        for words in ("FailedMount", "Unscheduled", "0/3 nodes", "ImagePullBackOff", "TrainingRuntime none: create it"):
            assert any(words in mark["message"] for marks in told for mark in marks), words
        world.restart()
        world.settle_all()
        assert world.process.kube.writes == 0, "at once"
        _pass(world, 3 * FIRST_SECONDS)
        assert world.process.kube.writes == 0, "when events are heard again"
        assert isinstance(world.process.kube, Listening)
        assert world.process.kube.asked
    finally:
        world.loop.close()


def test_pods_that_no_scheduler_takes_up_are_told_of_though_nothing_happens() -> None:
    """The creation was the operator's own, and no news: nobody looked again before the job's next deadline."""
    world = Known()
    try:
        spec = {"numNodes": 2, "trainer": TRAINER, "pod": {"terminationGracePeriodSeconds": 30}}
        world.create_job(spec)
        world.settle_all()
        _pass(world, 2 * FIRST_SECONDS)
        assert world.job is not None
        assert any("no scheduler has taken" in mark["message"] for mark in world.job["status"]["conditions"])
    finally:
        world.loop.close()
