"""`python -m tests.perf.operator.cache_bench`: what an object, and what many large ones of a tenant, cost in memory.

Each row has an operator of its own, started as it is deployed: its resident memory before the objects and after, once
it has said something of the last one; a second start finds all of them there. Results go to
tests/perf/results/cache.json with commit, machine and load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.api.crds import install_crds
from tests.api.operators import Operator
from tests.api.stage import condition
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.rest import ApiError
from tests.perf import machine
from tests.perf.operator.load import JOBS, PODS, Arrivals, encode, training_jobs
from tests.perf.operator.measure import CONCURRENCY, NODES, Lab

RESULTS = Path(__file__).parents[1] / "results" / "cache.json"
Object = dict[str, Any]
# Half a MiB: what the arguments of a command may have.
ARGS = [f"{number:04}" + "x" * 4090 for number in range(128)]
MIB = 2**20


def suspended(name: str, args: list[str]) -> bytes:
    trainer = {"image": "x", "command": ["train"], "args": args}
    spec = {"runPolicy": {"suspend": True}, "trainer": trainer}
    kind = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob"}
    return encode({**kind, "metadata": {"name": name}, "spec": spec})


@dataclass(frozen=True)
class Row:
    """`pods`: of each job; none of a suspended one. `told`: the condition that the operator says of each in the end."""

    what: str
    body: Callable[[str], bytes]
    told: str
    pods: int = 0


ROWS = {
    "small": Row("suspended jobs as small as can be", lambda name: suspended(name, []), "Suspended"),
    "running": Row("jobs of four pods", lambda name: training_jobs([name])[0], "Running", NODES),
    "large": Row("suspended jobs of half a MiB, of one namespace", lambda name: suspended(name, ARGS), "Stalled"),
}


class Bench:
    """One API server; each row in a namespace of its own."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    async def run(self, row: Row, count: int) -> Object:
        namespace, neighbour = self._lab.fresh("cache"), self._lab.fresh("neighbour")
        names = [f"c{number}" for number in range(count)]
        async with self._lab.load() as load:
            for one in (namespace, neighbour):
                await load.namespace(one)
            async with self._operator(namespace, neighbour) as operator:
                before = machine.rss_mib(operator.process.pid)
                async with Arrivals(load, PODS.format(namespace)) as arrivals:
                    await load.create_all(JOBS.format(namespace), [row.body(name) for name in names], CONCURRENCY)
                    await arrivals.reach(count * row.pods)
                await asyncio.to_thread(self._until_told, namespace, names[-1], row.told)
                full = await asyncio.to_thread(self._full, namespace, names) if row.told == "Stalled" else 0
                grown = machine.rss_mib(operator.process.pid) - before
                waited = await self._neighbours_job(load, neighbour)
            async with self._operator(namespace, neighbour) as again:
                await asyncio.to_thread(self._until_told, namespace, names[-1], row.told)
                await asyncio.sleep(2)
                start = machine.rss_mib(again.process.pid)
        objects = count * (1 + row.pods)
        return {
            "what": row.what,
            "jobs": count,
            "objects": objects,
            "bytesOfOne": len(row.body(names[0])),
            "namespaceFull": full,
            "rssMiB": {"before": before, "grown": round(grown, 1), "afterAStart": start},
            "bytesOfMemoryPerObject": round(grown * MIB / objects),
            "neighboursJobSeconds": round(waited, 2),
            "load": machine.load(),
        }

    @asynccontextmanager
    async def _operator(self, *namespaces: str) -> AsyncIterator[Operator]:
        watched = ",".join(namespaces)
        operator = await asyncio.to_thread(self._lab.operator, watched)
        try:
            yield operator
        finally:
            await asyncio.to_thread(operator.kill)

    async def _neighbours_job(self, load: Any, namespace: str) -> float:
        """Seconds from the creation of another namespace's job to its last pod."""
        started = time.perf_counter()
        async with Arrivals(load, PODS.format(namespace)) as arrivals:
            await load.create(JOBS.format(namespace), training_jobs(["honest"])[0])
            return await arrivals.reach(NODES) - started

    def _status(self, namespace: str, name: str) -> Object:
        try:
            found: Object = self._lab.plane.client.get(f"{JOBS.format(namespace)}/{name}")
        except ApiError:
            return {}
        return found.get("status") or {}

    def _until_told(self, namespace: str, name: str, kind: str) -> None:
        deadline = time.monotonic() + 600
        while condition(self._status(namespace, name), kind) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing is said of {name}: {self._status(namespace, name)}")
            time.sleep(0.2)

    def _full(self, namespace: str, names: list[str]) -> int:
        reasons = [(condition(self._status(namespace, name), "Stalled") or {}).get("reason") for name in names]
        return sum(reason == "NamespaceFull" for reason in reasons)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--running", type=int, default=250)
    parser.add_argument("--large", type=int, default=1000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main() -> None:
    options, about, results = options_of(), machine.describe(), []
    with tempfile.TemporaryDirectory(prefix="slipway-cache-") as folder, ControlPlane(Path(folder) / "plane") as plane:
        install_crds(plane.client)
        about["server"] = plane.client.get("/version")["gitVersion"]
        bench = Bench(Lab(plane, Path(folder)))
        for name, row in ROWS.items():
            results.append(asyncio.run(bench.run(row, getattr(options, name))))
            print(json.dumps(results[-1]), flush=True)
    options.results.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
