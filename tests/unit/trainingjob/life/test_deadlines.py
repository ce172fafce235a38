"""A thousand jobs whose time is up in the same second: each is acted on within a second of it, at p99.

The real queue, workers, plan and executor on a virtual clock, after a restart; each request takes the server 3 ms. What
the operator's own CPU adds is measured against a real API server, in tests/api/trainingjob/test_deadlines.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.config import read_config
from slipway.reconcile.labels import owned
from slipway.runtime import conditions
from slipway.runtime.caching.cache import Cache, Change
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import PODS, Object, Resource, uid_of
from slipway.runtime.conditions import format_time
from slipway.runtime.controller import Controller
from slipway.runtime.queue import WorkQueue
from slipway.trainingjob.job import KIND, TRAINING_JOBS, Platform
from slipway.trainingjob.reconcile import TrainingJobReconciler
from tests.unit.runtime.virtual import run_virtually
from tests.unit.trainingjob.sim_server import NAMESPACE, Kube, Server, merged

JOBS = 1000
REQUEST_SECONDS = 0.003
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
RESTARTED, DUE = 30.0, 60.0


class SlowKube(Kube):
    """Each write takes its time; the server may do others meanwhile."""

    async def delete(self, *args: Any, **kwargs: Any) -> Object:
        await asyncio.sleep(REQUEST_SECONDS)
        return await super().delete(*args, **kwargs)

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], *, resource_version: str
    ) -> Object:
        await asyncio.sleep(REQUEST_SECONDS)
        there = self.server.get(resource, name)
        assert there["metadata"]["resourceVersion"] == resource_version
        return self.server.store(resource, {**there, "status": merged(there["status"], status)})


class Watched(Server):
    """Tells the operator's cache of each change at once, and the test when a job's time was acted on."""

    def begin(self, cache: Cache) -> None:
        self.cache: Cache = cache
        self.acted: dict[str, float] = {}

    def store(self, resource: Resource, obj: Object, event: str = "MODIFIED") -> Object:
        """Nobody here changes what was handed out, so nothing is copied."""
        self.version += 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[resource.plural, stored["metadata"]["name"]] = stored
        if hasattr(self, "cache"):
            self.cache.observe(resource, event, stored)
            if conditions.is_true((stored.get("status") or {}).get("conditions") or [], "Failed"):
                self.acted.setdefault(stored["metadata"]["name"], asyncio.get_running_loop().time())
        return stored

    def remove(self, resource: Resource, name: str) -> Object:
        gone = super().remove(resource, name)
        self.cache.observe(resource, "DELETED", gone)
        if resource is TRAINING_JOBS:
            self.acted[name] = asyncio.get_running_loop().time()
        return gone


def mark(kind: str, reason: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": format_time(START)}


def running_job(server: Server, number: int) -> None:
    """With a pod, and a minute to run."""
    spec = {"trainer": {"command": ["train"]}, "runPolicy": {"activeDeadlineSeconds": int(DUE)}}
    times = {field: format_time(START) for field in ("startTime", "attemptTime", "runningTime")}
    status = {**times, "conditions": [mark("Running", "AllPodsRunning")], "replicaStatuses": {"desired": 1}}
    body = {"metadata": {"name": f"job-{number}"}, "spec": spec, "status": status}
    job = server.create(TRAINING_JOBS, body)
    labels = owned(KIND, f"job-{number}", uid_of(job)) | {
        "slipway.dev/replica-index": "0",
        "slipway.dev/attempt": "0",
    }
    owner = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": KIND,
        "name": f"job-{number}",
        "uid": uid_of(job),
        "controller": True,
    }
    metadata = {"name": f"job-{number}-node-0-a0", "labels": labels, "ownerReferences": [owner]}
    pod = server.create(PODS, {"metadata": metadata, "spec": {"terminationGracePeriodSeconds": 30}})
    ready = [{"type": "Ready", "status": "True"}]
    server.store(PODS, pod | {"status": {"phase": "Running", "conditions": ready}})


def finished_job(server: Server, number: int) -> None:
    """To be deleted a minute after its end."""
    spec = {"trainer": {"command": ["train"]}, "runPolicy": {"ttlSecondsAfterFinished": int(DUE)}}
    ended = {"observedGeneration": 1, **{field: format_time(START) for field in ("startTime", "completionTime")}}
    status = {**ended, "conditions": [mark("Succeeded", "Succeeded"), mark("Ready", "Succeeded")]}
    server.create(TRAINING_JOBS, {"metadata": {"name": f"job-{number}"}, "spec": spec, "status": status})


@pytest.mark.parametrize("make", [running_job, finished_job], ids=["deadline", "time to live"])
def test_a_thousand_at_once_within_a_second(make: Any) -> None:
    lags: list[float] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()

        def now() -> datetime:
            return START + timedelta(seconds=loop.time())

        server = Watched(now)
        for number in range(JOBS):
            make(server, number)
        await asyncio.sleep(RESTARTED)
        queue: WorkQueue[Key] = WorkQueue(clock=loop.time, rng=lambda: 0.5)
        cache = Cache(lambda resource, change: queue.mark(key_of(resource, change)), clock=loop.time)
        cache.add(TRAINING_JOBS)
        cache.add(PODS)
        server.begin(cache)
        kube: Any = SlowKube(server)
        platform = Platform("registry.example.com/slipway/trainer:test")
        jobs = TrainingJobReconciler(kube, cache, platform, lambda job, notice: None, lambda key, uid: None, now)
        workers = read_config({}).workers
        controller = Controller("trainingjob", queue, jobs.reconcile, workers=workers, on_error=jobs.on_error)
        work = asyncio.create_task(controller.run())
        await cache.resync(kube)
        await asyncio.sleep(DUE - RESTARTED - 0.01)
        assert server.acted == {}, "too early"
        await asyncio.sleep(10)
        lags.extend(sorted(moment - DUE for moment in server.acted.values()))
        await controller.stop()
        await work

    run_virtually(play())
    assert len(lags) == JOBS
    assert lags[0] >= 0
    assert lags[int(0.99 * JOBS)] <= 1.0


def key_of(resource: Resource, change: Change) -> Key:
    """The job itself, or a pod's."""
    if resource is TRAINING_JOBS:
        return Key(NAMESPACE, change.key.name)
    return Key(NAMESPACE, change.key.name.removesuffix("-node-0-a0"))
