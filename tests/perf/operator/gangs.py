"""Large bursts, large gangs, and gangs that lose a pod: what bench.py measures for itself, beside no contender.

No kubelets are here: a pod that is deleted is gone at once, so what is measured is the operator and the API server.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.cluster.scripted import script
from tests.perf import machine
from tests.perf.operator.load import JOBS, PODS, Arrivals, Load, encode, training_jobs
from tests.perf.operator.measure import CONCURRENCY, NODES, Lab


async def burst(lab: Lab, jobs: int, nodes: int) -> dict[str, Any]:
    """So many jobs at once, until all pods of all of them have been created."""
    async with _working(lab, "burst") as (load, namespace), Arrivals(load, PODS.format(namespace)) as arrivals:
        started = time.perf_counter()
        names = [f"b{number}" for number in range(jobs)]
        await load.create_all(JOBS.format(namespace), training_jobs(names, nodes), CONCURRENCY)
        seconds = await arrivals.reach(jobs * nodes) - started
    found = {"what": "burst", "jobs": jobs, "nodes": nodes, "seconds": round(seconds, 2)}
    return {**found, "jobsPerSecond": round(jobs / seconds, 2), "load": machine.load()}


async def one_gang(lab: Lab, nodes: int, times: int) -> dict[str, Any]:
    """One job of many pods at a time, from its creation to its last pod's."""
    waits = []
    async with _working(lab, "gang") as (load, namespace), Arrivals(load, PODS.format(namespace)) as arrivals:
        for number in range(times):
            (body,) = training_jobs([f"g{number}"], nodes)
            started = time.perf_counter()
            await load.create(JOBS.format(namespace), body)
            waits.append(await arrivals.reach((number + 1) * nodes) - started)
    return {"what": "gang", "nodes": nodes, "times": times, "milliseconds": _spread(waits), "load": machine.load()}


async def replacement(lab: Lab, times: int) -> dict[str, Any]:
    """One pod of four fails: how long until all four of the next attempt have been created?"""
    waits = []
    async with _working(lab, "replaced") as (load, namespace), Arrivals(load, PODS.format(namespace)) as arrivals:
        for number in range(times):
            (body,) = training_jobs([f"r{number}"])
            await load.create(JOBS.format(namespace), body)
            await arrivals.reach((2 * number + 1) * NODES)
            await _settled(load, namespace, f"r{number}")
            started = time.perf_counter()
            await _fail(load, f"{PODS.format(namespace)}/r{number}-node-1-a0")
            waits.append(await arrivals.reach((2 * number + 2) * NODES) - started)
    found = {"what": "replacement", "nodes": NODES, "times": times, "milliseconds": _spread(waits)}
    return {**found, "load": machine.load()}


async def _settled(load: Load, namespace: str, name: str) -> None:
    """Until the status says that all pods were created: before that a failure would wait for that write."""
    async for event in load.watch(f"{JOBS.format(namespace)}?fieldSelector=metadata.name%3D{name}"):
        if (event["object"].get("status") or {}).get("attemptTime"):
            return


async def _fail(load: Load, path: str) -> None:
    body = {"metadata": {"uid": "none"}, "spec": {"containers": [{"name": "trainer", "image": "x"}]}}
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    await load.patch(f"{path}/status", encode({"status": script.ended(body, script.Exit(code=137), moment, moment)}))


def _spread(seconds: list[float]) -> dict[str, float]:
    waits = sorted(1000 * wait for wait in seconds)
    p99 = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    return {"p50": round(statistics.median(waits), 1), "p99": round(p99, 1), "max": round(waits[-1], 1)}


@asynccontextmanager
async def _working(lab: Lab, name: str) -> AsyncIterator[tuple[Load, str]]:
    """An operator at work in a namespace of its own."""
    namespace = lab.fresh(name)
    async with lab.load() as load:
        await load.namespace(namespace)
        operator = await asyncio.to_thread(lab.operator, namespace)
        try:
            yield load, namespace
        finally:
            operator.kill()
