"""What the operator takes that knows thousands of jobs: `python -m tests.perf.operator.known_bench`.

A client that only writes makes the jobs of four pods that run, with all that belongs to them, in many namespaces and
for as long as it is given time. Then an operator starts beside them: seconds until it is at rest, what it wrote
meanwhile, its memory, and its CPU for each of some hundreds of pods that are no more ready. Beside it, without a
server: how long an InferenceService's look for its pods takes beside other people's.

The pods have to run: one that no scheduler has taken up after ten seconds is told of, which is a write.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.inferenceservice import ownership, service
from slipway.queueing.resources import slim_footprint
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import PODS as POD
from slipway.runtime.client.resource import Resource
from slipway.trainingjob import pods
from slipway.trainingjob.job import Platform, identify
from slipway.trainingjob.plan import plan
from tests.api.crds import install_crds
from tests.cluster.local.control_plane import ControlPlane
from tests.perf import machine
from tests.perf.operator.load import JOBS, PODS, Load, encode, training_jobs
from tests.perf.operator.measure import CONCURRENCY, NODES, Lab

RESULTS = Path(__file__).parents[1] / "results" / "known.json"
NAMESPACES = [f"known-{number}" for number in range(20)]
STARTED = "2026-11-01T12:00:00Z"
PLATFORM = Platform(trainer_image="registry.example.com/slipway/trainer:test")
PATIENCE = 120.0
# Of a core: its timers and probes take less.
QUIET_SHARE = 0.08


def pod_status(*, ready: bool) -> dict[str, Any]:
    """What the kubelet of a pod that runs says of it."""
    flags = {"ready": ready, "started": True, "restartCount": 0, "image": "x", "imageID": ""}
    marks = {"PodScheduled": True, "Ready": ready, "ContainersReady": ready, "Initialized": True}
    return {
        "phase": "Running",
        "conditions": [{"type": kind, "status": str(holds)} for kind, holds in marks.items()],
        "containerStatuses": [{"name": "trainer", **flags, "state": {"running": {"startedAt": STARTED}}}],
    }


RUNNING, UNREADY = ({"status": pod_status(ready=ready)} for ready in (True, False))


async def one_known_job(load: Load, namespace: str, body: bytes) -> None:
    """A job whose four pods run, with all that belongs to it, as an operator has left it."""
    made = await load.create(JOBS.format(namespace), body)
    job = identify(made, TrainingJobSpec.model_validate(made["spec"]))
    core = f"/api/v1/namespaces/{namespace}"
    await load.create(f"{core}/configmaps", encode(pods.config_map(job, PLATFORM)))
    await load.create(f"{core}/services", encode(pods.service(job, 0)))
    children = []
    for index in range(NODES):
        child = await load.create(f"{core}/pods", encode(pods.pod(job, index, 0, PLATFORM)))
        await load.patch(f"{core}/pods/{child['metadata']['name']}/status", encode(RUNNING))
        children.append({**child, **RUNNING})
    created = {**made, "status": {**made["status"], **(plan(made, [], PLATFORM, datetime.now(UTC)).status or {})}}
    runs = plan(created, children, PLATFORM, datetime.now(UTC)).status
    await load.patch(f"{JOBS.format(namespace)}/{job.name}/status", encode({"status": runs}))


async def fill(load: Load, jobs: int, seconds: float) -> int:
    """Make so many jobs, or as many as can be made in this time."""
    todo = zip(itertools.cycle(NAMESPACES), training_jobs(f"k{number}" for number in range(jobs)))
    until, made = time.monotonic() + seconds, 0

    async def work() -> None:
        nonlocal made
        for namespace, body in todo:
            if time.monotonic() > until:
                return
            await one_known_job(load, namespace, body)
            made += 1

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return made


async def at_rest(pid: int) -> float:
    """Wait until the process does next to nothing for two seconds; its CPU seconds then. Raises TimeoutError."""
    before = machine.cpu_seconds(pid)
    async with asyncio.timeout(PATIENCE):
        while True:
            await asyncio.sleep(2)
            now = machine.cpu_seconds(pid)
            if now - before < 2 * QUIET_SHARE:
                return now
            before = now


def versions(lab: Lab) -> dict[str, str]:
    """Version of each job by its UID."""
    found = {}
    for namespace in NAMESPACES:
        for job in lab.plane.client.get(JOBS.format(namespace))["items"]:
            found[job["metadata"]["uid"]] = job["metadata"]["resourceVersion"]
    return found


async def known(lab: Lab, jobs: int, seconds: float, events: int) -> dict[str, Any]:
    """An operator that starts beside so many jobs."""
    async with lab.load() as load:
        for namespace in NAMESPACES:
            await load.namespace(namespace)
        made = await fill(load, jobs, seconds)
        before = versions(lab)
        began = time.monotonic()
        process = await asyncio.to_thread(lab.operator, "", 5 * PATIENCE)
        try:
            pid = process.process.pid
            ready = time.monotonic() - began
            spent = await at_rest(pid)
            rest = time.monotonic() - began - 2
            after = versions(lab)
            told = {
                "what": "restart",
                "jobs": made,
                "pods": 4 * made,
                "secondsUntilReady": round(ready, 1),
                "secondsUntilAtRest": round(rest, 1),
                "cpuSeconds": round(spent, 1),
                "jobsWritten": sum(after[uid] != version for uid, version in before.items()),
                "rssMiB": machine.rss_mib(pid),
                "load": machine.load(),
            }
            names = [(NAMESPACES[n % len(NAMESPACES)], f"k{n}-node-0-a0") for n in range(min(events, made))]
            for namespace, name in names:
                await load.patch(f"{PODS.format(namespace)}/{name}/status", encode(UNREADY))
            mine = await at_rest(pid) - spent
        finally:
            process.kill()
    return {**told, "events": len(names), "cpuMillisecondsPerEvent": round(1000 * mine / len(names), 2)}


def looks(others: int) -> dict[str, Any]:
    """Microseconds of one look for a service's four pods, beside so many of others."""
    cache = Cache(lambda resource, change: None)
    for resource in (service.INFERENCE_SERVICES, service.DEPLOYMENTS, service.REPLICA_SETS, service.JOBS):
        cache.add(resource)
    cache.add(POD, slim=slim_footprint)
    versions = itertools.count(1)

    def tell(resource: Resource, name: str, owner: tuple[Resource, str] | None, **labels: str) -> None:
        marks: dict[str, Any] = {"name": name, "namespace": "n", "uid": name, "resourceVersion": f"{next(versions)}"}
        if owner is not None:
            whose = {"apiVersion": owner[0].api_version, "kind": owner[0].kind, "name": owner[1], "uid": owner[1]}
            marks["ownerReferences"] = [{**whose, "controller": True}]
        if labels:
            marks["labels"] = {"slipway.dev/managed": "true", **labels}
        cache.observe(resource, "ADDED", {"metadata": marks, "spec": {}, "status": {}})

    mine = {"slipway.dev/job-uid": "s", service.REVISION: "r"}
    tell(service.INFERENCE_SERVICES, "s", None)
    tell(service.DEPLOYMENTS, "s-r", (service.INFERENCE_SERVICES, "s"), **mine)
    tell(service.REPLICA_SETS, "rs", (service.DEPLOYMENTS, "s-r"), **mine)
    for number in range(4):
        tell(POD, f"mine-{number}", (service.REPLICA_SETS, "rs"), **mine)
    for number in range(others):
        tell(POD, f"other-{number}", (service.REPLICA_SETS, f"theirs-{number // 4}"))
    assert len(ownership.of_key(cache, Key("n", "s"))) == 4
    times = []
    for _ in range(200):
        began = time.process_time()
        ownership.of_key(cache, Key("n", "s"))
        times.append(1e6 * (time.process_time() - began))
    return {"what": "look", "otherPods": others, "microseconds": round(statistics.median(times), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=900.0, help="the most for making them")
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    about, results = machine.describe(), [looks(others) for others in (0, 2000, 20000)]
    with tempfile.TemporaryDirectory(prefix="slipway-known-") as folder, ControlPlane(Path(folder) / "plane") as plane:
        install_crds(plane.client)
        about["server"] = plane.client.get("/version")["gitVersion"]
        lab = Lab(plane, Path(folder))
        results.append(asyncio.run(known(lab, options.jobs, options.seconds, options.events)))
    print(json.dumps(results, indent=1))
    options.results.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
