"""The world around one TrainingJob, for the state machine: the operator's process, its cache that lags, nodes, users.

The operator is the real one from the queue and the controller down to the executor; only the API server behind it is
simulated. Watches deliver when the test says so, and the clock moves when the test says so.
"""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.reconcile.labels import JOB_NAME
from slipway.runtime.caching.cache import Cache, Change, slim_pod
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import PODS, Object, Resource
from slipway.runtime.controller import Controller
from slipway.runtime.queue import WorkQueue
from slipway.trainingjob.job import TRAINING_JOBS, Platform
from slipway.trainingjob.plan import plan
from slipway.trainingjob.reconcile import TrainingJobReconciler
from tests.unit.trainingjob.sim_server import NAMESPACE, CrashError, Kube, Server

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PLATFORM = Platform(trainer_image="registry.example.com/slipway/trainer:test")
NAME = "job"
KEY = Key(NAMESPACE, NAME)


class Clock:
    """Time as the test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


class Process:
    """One life of the operator's process."""

    def __init__(self, server: Server, clock: Clock, notices: list[tuple[str, str]]) -> None:
        self.server = server
        self.kube = Kube(server)
        self.queue: WorkQueue[Key] = WorkQueue(clock=lambda: clock.seconds, rng=lambda: 0.5)
        self.cache = Cache(self._on_change, clock=lambda: clock.seconds)
        self.cache.add(TRAINING_JOBS)
        self.cache.add(PODS, slim=slim_pod)
        self.heard = {TRAINING_JOBS.plural: 0, PODS.plural: 0}
        self.posted: dict[str, dict[str, Any]] = {}
        self.jobs = TrainingJobReconciler(
            self.kube,  # type: ignore[arg-type]
            self.cache,
            PLATFORM,
            lambda job, notice: notices.append((job["metadata"]["uid"], notice.reason)),
            lambda key, uid: self.posted.get(uid),
            clock.now,
        )
        self.controller = Controller("trainingjob", self.queue, self.jobs.reconcile, on_error=self.jobs.on_error)

    async def list_everything(self) -> None:
        """As at the start, and every few minutes."""
        await self.cache.resync(self.kube)  # type: ignore[arg-type]
        self.heard = {plural: len(self.server.events.get(plural, [])) for plural in self.heard}

    def deliver(self, resource: Resource, count: int | None = None) -> None:
        """Let the watch of one resource tell its next events."""
        stream = self.server.events.get(resource.plural, [])
        start = self.heard[resource.plural]
        end = len(stream) if count is None else min(len(stream), start + count)
        for event, obj in stream[start:end]:
            # The watch selects pods by our labels.
            if resource is not PODS or event == "DELETED" or JOB_NAME in (obj["metadata"].get("labels") or {}):
                self.cache.observe(resource, event, copy.deepcopy(obj))
        self.heard[resource.plural] = end

    def skip(self, resource: Resource) -> None:
        """The watch was down: kopf tells anew what is there, and never what was deleted meanwhile."""
        self.heard[resource.plural] = len(self.server.events.get(resource.plural, []))
        for obj in self.server.all(resource):
            self.cache.observe(resource, None, copy.deepcopy(obj))

    async def work(self) -> bool:
        """One reconcile, if a key is due. Raises CrashError."""
        key = self.queue.take()
        if key is None:
            return False
        try:
            await self.controller._one(key)
        finally:
            self.queue.done(key)
        if self.kube.dead:
            raise CrashError
        return True

    def _on_change(self, resource: Resource, change: Change) -> None:
        if resource is TRAINING_JOBS:
            self.queue.mark(Key(*change.key))
            return
        self.jobs.pod_changed(change)
        obj = change.new or change.old or {}
        if name := (obj["metadata"].get("labels") or {}).get(JOB_NAME):
            self.queue.mark(Key(change.key.namespace, name))


class World:
    """Server, operator, clock, nodes."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.server = Server(self.clock.now)
        self.notices: list[tuple[str, str]] = []
        self.lost: set[str] = set()
        self.process = Process(self.server, self.clock, self.notices)

    def restart(self) -> None:
        """The old process is gone; a new one starts from LISTs."""
        self.process = Process(self.server, self.clock, self.notices)
        self.loop.run_until_complete(self.process.list_everything())

    def relist(self) -> None:
        self.loop.run_until_complete(self.process.list_everything())

    def work(self) -> bool:
        try:
            return self.loop.run_until_complete(self.process.work())
        except CrashError:
            self.restart()
            return True

    def settle(self) -> None:
        """Deliver and work until nothing is due at this moment."""
        for _ in range(60):
            self.process.deliver(TRAINING_JOBS)
            self.process.deliver(PODS)
            if not self.work():
                return
        raise AssertionError("the operator never comes to rest: it works on and on at one moment")

    @property
    def job(self) -> Object | None:
        return self.server.objects.get((TRAINING_JOBS.plural, NAME))

    @property
    def pods(self) -> list[Object]:
        """All pods that Slipway made."""
        return [pod for pod in self.server.all(PODS) if (pod["metadata"].get("labels") or {}).get(JOB_NAME)]

    def alive(self) -> list[Object]:
        return [pod for pod in self.pods if pod["status"]["phase"] in {"Pending", "Running"}]

    def create_job(self, spec: dict[str, Any]) -> None:
        body = {"metadata": {"name": NAME}, "spec": spec, "status": {"observedGeneration": -1}}
        self.server.create(TRAINING_JOBS, body)

    def edit(self, path: tuple[str, ...], value: Any) -> None:
        """An edit of the spec by its user."""
        assert self.job is not None
        job = copy.deepcopy(self.job)
        at = job["spec"]
        for part in path[:-1]:
            at = at.setdefault(part, {})
        if at.get(path[-1]) == value:
            return
        at[path[-1]] = value
        job["metadata"]["generation"] += 1
        self.server.store(TRAINING_JOBS, job)

    def start_pod(self, pod: Object, node: str) -> None:
        moment = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        pod = copy.deepcopy(pod)
        pod["spec"]["nodeName"] = node
        pod["status"] = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": moment}}}],
        }
        self.server.store(PODS, pod)

    def end_pod(self, pod: Object, code: int, reason: str = "", ago: float = 0) -> None:
        moment = (self.clock.now() - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
        pod = copy.deepcopy(pod)
        ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "finishedAt": moment}
        pod["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}],
        }
        self.server.store(PODS, pod)

    def lose_node(self, node: str) -> None:
        self.lost.add(node)
        for pod in self.pods:
            if pod["spec"].get("nodeName") == node and pod["status"]["phase"] == "Running":
                silent = copy.deepcopy(pod)
                silent["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}]
                self.server.store(PODS, silent)

    def kubelet_round(self, code: int = 0) -> bool:
        """Every live node does its duty once: ends what is to be deleted, starts what waits, ends what runs."""
        moved = False
        for pod in self.pods:
            node = pod["spec"].get("nodeName")
            if node in self.lost:
                continue
            moved = True
            if pod["metadata"].get("deletionTimestamp"):
                self.server.remove(PODS, pod["metadata"]["name"])
            elif pod["status"]["phase"] == "Pending":
                self.start_pod(pod, "node-c")
            elif pod["status"]["phase"] == "Running":
                self.end_pod(pod, code)
            else:
                moved = False
        return moved

    def wants(self) -> Any:
        """What the operator would do now, with a cache that knows everything."""
        assert self.job is not None
        mine = [p for p in self.pods if p["metadata"]["ownerReferences"][0]["uid"] == self.job["metadata"]["uid"]]
        return plan(copy.deepcopy(self.job), copy.deepcopy(mine), PLATFORM, self.clock.now())
