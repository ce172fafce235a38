"""`python -m tests.perf.operator.before_bench COMMIT`: the operator beside itself at an earlier commit.

Both take turns, round after round, each on an API server with the CRDs of its own commit, so that a machine that is
busy for a while slows both. Counted are jobs a second, CPU of operator and servers per job, requests per job by the
server's audit log, memory, and how long a start takes beside all these jobs. Results go to
tests/perf/results/before.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.api.crds import install_crds
from tests.api.operators import Operator
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.paths import REPOSITORY
from tests.perf import machine
from tests.perf.operator import measure
from tests.perf.operator.load import JOBS, training_jobs
from tests.perf.operator.measure import Lab

RESULTS = Path(__file__).parents[1] / "results" / "before.json"
LOWER_IS_BETTER = ("cpuMillisecondsPerJob", "requestsPerJob", "rssMiB", "startSeconds")


@dataclass(frozen=True)
class Contender:
    """A checkout of one commit."""

    name: str
    root: Path

    def operator(self, lab: Lab, namespace: str, log: str) -> Operator:
        env = {
            "PYTHONPATH": str(self.root / "operator"),
            "SLIPWAY_LOG_LEVEL": "WARNING",
            "SLIPWAY_GANG_ADMISSION": "off",
        }
        operator = Operator(lab.plane.kubeconfig, namespace, lab.folder / log, env, fresh=True)
        operator.ready()
        return operator


async def one(lab: Lab, contender: Contender, jobs: int) -> dict[str, Any]:
    """One burst, then a second start beside what the burst made."""
    namespace = lab.fresh(f"turn-{contender.name}")
    async with lab.load() as load:
        await load.namespace(namespace)
        process = await asyncio.to_thread(contender.operator, lab, namespace, f"{namespace}.log")
        try:
            pid, servers = process.process.pid, lab.cpu()
            used = machine.cpu_seconds(pid)
            bodies = training_jobs([f"b{number}" for number in range(jobs)])
            seconds = await measure.burst(load, namespace, JOBS, bodies)
            await asyncio.sleep(2)
            mine, rss = machine.cpu_seconds(pid) - used, machine.rss_mib(pid)
            spent = {"operator": mine, **servers()}
        finally:
            process.kill()
        requests = await asyncio.to_thread(requests_of, lab, namespace)
        started = time.perf_counter()
        again = await asyncio.to_thread(contender.operator, lab, namespace, f"{namespace}.log")
        start = time.perf_counter() - started
        again.kill()
    return {
        "what": contender.name,
        "jobsPerSecond": round(jobs / seconds, 2),
        "cpuMillisecondsPerJob": {name: round(1000 * value / jobs, 2) for name, value in spent.items()},
        "requestsPerJob": {verb: round(number / jobs, 3) for verb, number in sorted(requests.items())},
        "rssMiB": rss,
        "startSeconds": round(start, 2),
        "load": machine.load(),
    }


def requests_of(lab: Lab, namespace: str) -> Counter[str]:
    """What the operator asked of this namespace, without watches: by verb and resource."""
    found: Counter[str] = Counter()
    for event in lab.plane.audit_events("slipway-operator"):
        about = event.get("objectRef") or {}
        if about.get("namespace") == namespace and event["verb"] != "watch":
            found[" ".join(filter(None, (event["verb"], about["resource"], about.get("subresource"))))] += 1
    return found


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of each contender, and now to before."""
    medians: dict[str, dict[str, float]] = {}
    for name in ("before", "now"):
        mine = [result for result in results if result["what"] == name]
        medians[name] = {
            key: round(statistics.median(_total(result[key]) for result in mine), 3)
            for key in ("jobsPerSecond", *LOWER_IS_BETTER)
        }
    ratios = {key: round(medians["now"][key] / medians["before"][key], 3) for key in medians["now"]}
    return {"medians": medians, "nowToBefore": ratios}


def _total(value: float | dict[str, float]) -> float:
    return sum(value.values()) if isinstance(value, dict) else value


def checkout(commit: str, folder: Path) -> Path:
    """The files of a commit, without a work tree of git's."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="the earlier one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of four pods in one burst")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main() -> None:
    options = options_of()
    about, results = machine.describe() | {"before": options.commit}, []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-before-")))
        pair = [Contender("before", checkout(options.commit, folder / "code")), Contender("now", REPOSITORY)]
        labs = {}
        for contender in pair:
            (folder / contender.name).mkdir()
            plane = stack.enter_context(ControlPlane(folder / contender.name / "plane", audit=True))
            install_crds(plane.client, contender.root / "crds")
            about["server"] = plane.client.get("/version")["gitVersion"]
            labs[contender.name] = Lab(plane, folder / contender.name)
        for number in range(options.rounds):
            for contender in pair if number % 2 else pair[::-1]:
                result = asyncio.run(one(labs[contender.name], contender, options.jobs))
                results.append({"round": number, **result})
                print(json.dumps(results[-1]), flush=True)
    report = {"about": about, "summary": summary(results), "results": results}
    options.results.write_text(json.dumps(report, indent=1) + os.linesep)
    print(json.dumps(report["summary"], indent=1))


if __name__ == "__main__":
    main()
