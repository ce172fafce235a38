"""`python -m tests.perf.operator.flood_bench`: how long a job waits for its pods while somebody floods the operator's
ports.

The same steady load of jobs, alone and in floods of each kind, in turns, so that a machine that is busy for a while
slows all of them. The flood runs on the same cores: what it takes there of the servers' time counts, too.
Results go to tests/perf/results/floods.json with commit, machine and load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.api.crds import install_crds
from tests.api.operators import Operator
from tests.cluster.local.control_plane import ControlPlane
from tests.hostile.flood import flooding
from tests.perf import machine
from tests.perf.operator import measure
from tests.perf.operator.load import PODS, Arrivals
from tests.perf.operator.measure import NODES, Lab
from tests.ports import free_port

RESULTS = Path(__file__).parents[1] / "results" / "floods.json"
STATUS = ("silent", "half-head", "slow-body", "post")
HEALTH = ("connect", "scrape")
SOURCE = "127.0.0.2"


class Bench:
    """One operator, one namespace; the rounds share them."""

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        self._lab, self._options = lab, options
        self._namespace, self._port, self._number = "floods", free_port(), 0
        self._operator: Operator

    async def run(self) -> list[dict[str, Any]]:
        async with self._lab.load() as load:
            await load.namespace(self._namespace)
        env = {
            "SLIPWAY_LOG_LEVEL": "ERROR",
            "SLIPWAY_GANG_ADMISSION": "off",
            "SLIPWAY_STATUS_URL": f"https://127.0.0.1:{self._port}",
            "SLIPWAY_STATUS_PORT": str(self._port),
            "SLIPWAY_STATUS_CERT_DIR": str(self._lab.folder / "none"),
            "SLIPWAY_STATUS_MADE_DIR": str(self._lab.folder / "made"),
        }
        log = self._lab.folder / "operator.log"
        self._operator = Operator(self._lab.plane.kubeconfig, self._namespace, log, env, fresh=True)
        self._operator.ready()
        try:
            await self._latencies()
            found = []
            for number in range(self._options.rounds):
                for how in ("none", *STATUS, "none", *HEALTH):
                    found.append({"round": number, **await self._one(how)})
                    print(json.dumps(found[-1]), flush=True)
            return found
        finally:
            self._operator.kill()

    async def _one(self, how: str) -> dict[str, Any]:
        pid, figures = self._operator.process.pid, {}
        with contextlib.ExitStack() as stack:
            if how != "none":
                port = self._operator.health if how in HEALTH else self._port
                plain = how in HEALTH
                flood = flooding(how, port, SOURCE, rate=self._options.flood, plain=plain)
                figures = await asyncio.to_thread(stack.enter_context, flood)
                await asyncio.sleep(1)
            cpu = machine.cpu_seconds(pid)
            waits = await self._latencies()
            spent = machine.cpu_seconds(pid) - cpu
        return {
            "flood": how,
            "milliseconds": {"p50": round(statistics.median(waits), 1), "max": round(max(waits), 1)},
            "operatorCpuSeconds": round(spent, 2),
            "rssMiB": machine.rss_mib(pid),
            "load": machine.load(),
            "hostile": figures,
        }

    async def _latencies(self) -> list[float]:
        """Milliseconds from each job's creation to its last pod."""
        first = self._number
        self._number += int(self._options.rate * self._options.seconds)
        names = [f"f{number}" for number in range(first, self._number)]
        async with self._lab.load() as load, Arrivals(load, PODS.format(self._namespace)) as arrivals:
            asked = await measure._steadily(load, self._namespace, names, self._options.rate)
            await arrivals.reach(self._number * NODES)
            return [1000 * (max(arrivals.seen[name]) - asked[name]) for name in names]


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The least disturbed round of each kind, since other work on the machine only adds; and how many times longer a
    job waits in a flood.
    """
    by_kind: dict[str, list[float]] = {}
    for result in results:
        by_kind.setdefault(result["flood"], []).append(result["milliseconds"]["p50"])
    least = {how: min(values) for how, values in by_kind.items()}
    return {
        "milliseconds": least,
        "times": {how: round(value / least["none"], 2) for how, value in least.items() if how != "none"},
        "rssMiB": {"least": min(r["rssMiB"] for r in results), "most": max(r["rssMiB"] for r in results)},
    }


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=4.0, help="jobs of four pods a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one row")
    parser.add_argument("--flood", type=float, default=500.0, help="hostile connections a second")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main() -> None:
    options, about = options_of(), machine.describe()
    with tempfile.TemporaryDirectory(prefix="slipway-floods-") as folder, ControlPlane(Path(folder) / "plane") as plane:
        install_crds(plane.client)
        about["server"] = plane.client.get("/version")["gitVersion"]
        results = asyncio.run(Bench(Lab(plane, Path(folder)), options).run())
    report = {"about": about, "summary": summary(results), "results": results}
    options.results.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=1))


if __name__ == "__main__":
    main()
