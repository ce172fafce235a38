"""The single measurements, which bench.py interleaves. Each works in a namespace of its own and returns figures."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.trainingjob import pods
from slipway.trainingjob.job import Platform, identify
from slipway.trainingjob.plan import plan
from tests.api.operators import Operator
from tests.cluster.local.control_plane import ControlPlane
from tests.perf import machine
from tests.perf.operator.load import BATCH, JOBS, PODS, Arrivals, Load, batch_jobs, encode, training_jobs

NODES = 4
# What a job of four pods costs at least: Service, ConfigMap, four pods, one status.
WRITES_PER_JOB = NODES + 3
CONCURRENCY = 16
_numbers = itertools.count()


@dataclass
class Lab:
    """One API server and the folder for logs."""

    plane: ControlPlane
    folder: Path

    def fresh(self, name: str) -> str:
        """A namespace's name that nobody has used."""
        return f"{name}-{next(_numbers)}"

    def load(self) -> Load:
        return Load(self.plane.kubeconfig, "slipway-bench")

    def operator(self, namespace: str, patience: float = 60.0) -> Operator:
        """One that has started; `patience` in seconds."""
        operator = Operator(
            self.plane.kubeconfig,
            namespace,
            self.folder / f"operator-{next(_numbers)}.log",
            # No nodes are here that gangs could fit on: what is measured is how fast they are made once they do.
            {"SLIPWAY_LOG_LEVEL": "WARNING", "SLIPWAY_GANG_ADMISSION": "off"},
            fresh=True,
        )
        operator.ready(patience)
        return operator

    def manager_flags(self, *flags: str) -> None:
        """Run the controller manager with these flags from now on."""
        self.plane.process("kube-controller-manager").stop()
        self.plane.controller_manager = flags
        self.plane.start()

    def known_flags(self, *flags: str) -> tuple[str, ...]:
        """Those of these flags that this version of the controller manager has."""
        binary = self.plane.process("kube-controller-manager").argv[0]
        help_text = subprocess.run([binary, "--help"], capture_output=True, text=True, check=False).stdout
        return tuple(flag for flag in flags if f"{flag.split('=')[0]} " in help_text)

    def cpu(self) -> Callable[[], dict[str, float]]:
        """Start counting the server's CPU seconds; call the result for what was used since."""
        pids = {name: self.plane.process(name).pid() for name in ("kube-apiserver", "etcd")}
        before = {name: machine.cpu_seconds(pid) for name, pid in pids.items() if pid}
        return lambda: {name: machine.cpu_seconds(pid) - before[name] for name, pid in pids.items() if pid}


async def raw(lab: Lab, count: int) -> dict[str, Any]:
    """How many pods a second does this API server take from a client that does nothing else?"""
    namespace = f"raw-{next(_numbers)}"
    async with lab.load() as load:
        await load.namespace(namespace)
        body = {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "x"}]}}
        bodies = [encode({"metadata": {"name": f"p{i}"}, **body}) for i in range(count)]
        seconds = await load.create_all(PODS.format(namespace), bodies, CONCURRENCY)
    return {"what": "raw", "createsPerSecond": round(count / seconds, 1), "load": machine.load()}


async def raw_jobs(lab: Lab, jobs: int) -> dict[str, Any]:
    """The same objects and the one status that a job of four pods needs, written by a client that does nothing else."""
    namespace = f"rawjobs-{next(_numbers)}"
    async with lab.load() as load:
        await load.namespace(namespace)
        todo = iter(training_jobs(_names(jobs)))
        cpu, started = lab.cpu(), time.perf_counter()

        async def work() -> None:
            for body in todo:
                await one_raw_job(load, namespace, body)

        async with Arrivals(load, PODS.format(namespace)) as arrivals:
            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
            await arrivals.reach(jobs * NODES)
        seconds = time.perf_counter() - started
    spent = {name: round(1000 * used / jobs, 2) for name, used in cpu().items()}
    return {
        "what": "raw jobs",
        "jobsPerSecond": round(jobs / seconds, 2),
        "cpuMillisecondsPerJob": spent,
        "load": machine.load(),
    }


async def one_raw_job(load: Load, namespace: str, body: bytes) -> None:
    """A job of four pods with all that belongs to it."""
    made = await load.create(JOBS.format(namespace), body)
    job = identify(made, TrainingJobSpec.model_validate(made["spec"]))
    platform = Platform(trainer_image="registry.example.com/slipway/trainer:test")
    core = f"/api/v1/namespaces/{namespace}"
    await load.create(f"{core}/configmaps", encode(pods.config_map(job, platform)))
    await load.create(f"{core}/services", encode(pods.service(job, 0)))
    for index in range(NODES):
        await load.create(f"{core}/pods", encode(pods.pod(job, index, 0, platform)))
    status = plan(made, [], platform, datetime.now(UTC)).status
    await load.patch(f"{JOBS.format(namespace)}/{job.name}/status", encode({"status": status}))


async def operator(lab: Lab, jobs: int) -> dict[str, Any]:
    """How many jobs of four pods a second, from the first job's creation to the last pod's?"""
    namespace = f"operator-{next(_numbers)}"
    async with lab.load() as load:
        await load.namespace(namespace)
        process = await asyncio.to_thread(lab.operator, namespace)
        try:
            used, cpu = machine.cpu_seconds(process.process.pid), lab.cpu()
            seconds = await burst(load, namespace, JOBS, training_jobs(_names(jobs)))
            mine = machine.cpu_seconds(process.process.pid) - used
            return {
                "what": "operator",
                "jobsPerSecond": round(jobs / seconds, 2),
                "writesPerSecond": round(jobs * WRITES_PER_JOB / seconds, 1),
                "cpuMillisecondsPerJob": {
                    name: round(1000 * spent / jobs, 2) for name, spent in {"operator": mine, **cpu()}.items()
                },
                "load": machine.load(),
            }
        finally:
            process.kill()


async def builtin(lab: Lab, jobs: int, what: str) -> dict[str, Any]:
    """The same for Kubernetes' own Jobs, with the controller manager as it runs now."""
    namespace = f"builtin-{next(_numbers)}"
    async with lab.load() as load:
        await load.namespace(namespace)
        seconds = await burst(load, namespace, BATCH, batch_jobs(_names(jobs)))
    return {"what": what, "jobsPerSecond": round(jobs / seconds, 2), "load": machine.load()}


async def latency(lab: Lab, rate: float, seconds: float) -> dict[str, Any]:
    """Jobs come at a steady rate, whether or not the ones before are done: how long until all pods of one are there?"""
    namespace = f"latency-{next(_numbers)}"
    names = _names(int(rate * seconds))
    async with lab.load() as load:
        await load.namespace(namespace)
        process = await asyncio.to_thread(lab.operator, namespace)
        try:
            async with Arrivals(load, PODS.format(namespace)) as arrivals:
                asked = await _steadily(load, namespace, names, rate)
                await arrivals.reach(len(names) * NODES)
                waits = sorted(1000 * (max(arrivals.seen[name]) - asked[name]) for name in names)
        finally:
            process.kill()
    return {
        "what": "latency",
        "jobsPerSecond": rate,
        "milliseconds": {
            "p50": round(statistics.median(waits), 1),
            "p99": round(waits[min(len(waits) - 1, int(0.99 * len(waits)))], 1),
            "max": round(waits[-1], 1),
        },
        "load": machine.load(),
    }


async def memory(lab: Lab, sizes: list[int], quiet: float) -> list[dict[str, Any]]:
    """The operator's resident memory with so many jobs of four pods, after it has been quiet for some seconds."""
    namespace = f"memory-{next(_numbers)}"
    found = []
    async with lab.load() as load:
        await load.namespace(namespace)
        process = await asyncio.to_thread(lab.operator, namespace)
        try:
            made = 0
            async with Arrivals(load, PODS.format(namespace)) as arrivals:
                for size in sizes:
                    bodies = training_jobs(f"m{number}" for number in range(made, size))
                    await load.create_all(JOBS.format(namespace), bodies, CONCURRENCY)
                    made = size
                    await arrivals.reach(size * NODES)
                    await asyncio.sleep(quiet)
                    found.append({"what": "memory", "jobs": size, "rssMiB": machine.rss_mib(process.process.pid)})
        finally:
            process.kill()
    return found


async def burst(load: Load, namespace: str, path: str, bodies: list[bytes]) -> float:
    """Seconds from the first job's creation to the last pod's."""
    async with Arrivals(load, PODS.format(namespace)) as arrivals:
        started = time.perf_counter()
        await load.create_all(path.format(namespace), bodies, CONCURRENCY)
        return await arrivals.reach(len(bodies) * NODES) - started


async def _steadily(load: Load, namespace: str, names: list[str], rate: float) -> dict[str, float]:
    asked: dict[str, float] = {}
    started = time.perf_counter()
    tasks = []
    for number, (name, body) in enumerate(zip(names, training_jobs(names), strict=True)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        asked[name] = time.perf_counter()
        tasks.append(asyncio.create_task(load.create(JOBS.format(namespace), body)))
    await asyncio.gather(*tasks)
    return asked


def _names(count: int) -> list[str]:
    return [f"b{number}" for number in range(count)]
