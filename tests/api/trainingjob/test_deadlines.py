"""A thousand finished jobs whose time to live ends in the same second, on a real API server.

The server's own pace is measured in the same run, with a client that only deletes: what the operator adds is judged.
The deadlines' order and the other kind of them are in tests/unit/trainingjob/life/test_deadlines.py, on a virtual
clock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.runtime.client.kube import Kube, KubeConfig
from slipway.runtime.conditions import format_time
from slipway.trainingjob.job import TRAINING_JOBS
from tests.api.operators import Operator
from tests.api.stage import JOBS, Stage

pytestmark = pytest.mark.api

COUNT, TTL, AT_ONCE = 1000, 100_000, 8
P99 = int(0.99 * COUNT)


class Deletions(threading.Thread):
    """When each job of a namespace went, by the wall clock."""

    def __init__(self, stage: Stage, namespace: str) -> None:
        super().__init__(daemon=True)
        self.at: dict[str, float] = {}
        self._client, self._path = stage.plane.client, JOBS.format(namespace)
        self._version = self._client.get(self._path)["metadata"]["resourceVersion"]
        self.start()

    def run(self) -> None:
        for event in self._client._watch(self._path, self._version):
            if event["type"] == "DELETED":
                self.at[event["object"]["metadata"]["name"]] = time.time()

    def until(self, count: int, deadline: float) -> list[float]:
        """Once so many have gone: their times, in order."""
        while len(self.at) < count:
            assert time.time() < deadline, f"only {len(self.at)} of {count} have gone"
            time.sleep(0.05)
        return sorted(self.at.values())


async def flood(kube: Kube, namespace: str, due: int, **policy: Any) -> None:
    """So many jobs that have succeeded so long ago that all of them are to go at one moment."""
    end = format_time(datetime.fromtimestamp(due - TTL, UTC))
    done = {"reason": "Succeeded", "message": "all pods succeeded", "lastTransitionTime": end, "status": "True"}
    status = {
        "observedGeneration": 1,
        "startTime": end,
        "completionTime": end,
        "conditions": [{"type": kind, **done} for kind in ("Ready", "Succeeded")],
    }
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        name = f"job-{number}"
        spec = {"trainer": {"image": "x", "command": ["train"]}, "runPolicy": policy}
        body = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob", "spec": spec}
        async with turns:
            made = await kube.create(TRAINING_JOBS, body | {"metadata": {"name": name, "namespace": namespace}})
            version = made["metadata"]["resourceVersion"]
            await kube.patch_status(TRAINING_JOBS, namespace, name, status, resource_version=version)

    await asyncio.gather(*(one(number) for number in range(COUNT)))


async def delete_all(kube: Kube, namespace: str) -> None:
    """As fast as the server does it."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            await kube.delete(TRAINING_JOBS, namespace, f"job-{number}")

    await asyncio.gather(*(one(number) for number in range(COUNT)))


async def with_kube(stage: Stage, work: Callable[[Kube], Any]) -> None:
    async with Kube(KubeConfig.load(stage.plane.kubeconfig)) as kube:
        await work(kube)


def pace(stage: Stage, namespace: str) -> tuple[float, float]:
    """How long a client that does nothing else takes to make so many jobs, and to delete all but one in a hundred."""
    stage.namespace(namespace)
    began = time.time()
    asyncio.run(with_kube(stage, lambda kube: flood(kube, namespace, 0, managedBy="example.com/other")))
    making, gone = time.time() - began, Deletions(stage, namespace)
    began = time.time()
    asyncio.run(with_kube(stage, lambda kube: delete_all(kube, namespace)))
    return making, gone.until(COUNT, began + 120)[P99] - began


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_times_to_live_end_in_one_second(stage: Stage, operators: Callable[..., Operator]) -> None:
    making, before = pace(stage, "deadlines-before")
    ours = stage.namespace("deadlines")
    due = int(time.time() + 2 * making + 30)
    asyncio.run(with_kube(stage, lambda kube: flood(kube, ours, due, ttlSecondsAfterFinished=TTL)))
    operator = operators(ours)
    operator.ready()
    assert time.time() < due - 5, "the machine is too slow to have all jobs ready in time"
    lags = [moment - due for moment in Deletions(stage, ours).until(COUNT, due + 120)]
    operator.kill()
    # Others may have come or gone on this machine meanwhile: the server's pace is that of the slower moment.
    _, after = pace(stage, "deadlines-after")
    alone = max(before, after)
    print(f"p50 {lags[COUNT // 2]:.2f} s, p99 {lags[P99]:.2f} s; a client that only deletes: {before:.2f}, {after:.2f}")
    assert lags[0] >= -0.1, "too early"
    # The operator looks at each job before it deletes it and hears of each deletion, on the cores that the server has.
    assert lags[P99] <= 1.0 + 1.5 * alone
