"""`make bench`: the operator beside the API server's own limit and Kubernetes' own Jobs, in one run on one server.

The contenders take turns, round after round, so that a machine that is busy for a while slows all of them. Results go
to tests/perf/results as JSON with commit, machine and load; the medians are printed. Bursts, large gangs and gangs that
lose a pod have no contender and a file of their own; `--only-gangs` measures nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.api.crds import install_crds
from tests.cluster.local.control_plane import ControlPlane
from tests.perf import machine
from tests.perf.operator import gangs, measure
from tests.perf.operator.measure import WRITES_PER_JOB, Lab

RESULTS = Path(__file__).parents[1] / "results"
LIFTED = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-job-syncs=20")


def rounds(lab: Lab, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All measurements that are compared with each other."""
    lifted = lab.known_flags(*LIFTED)
    for number in range(options.rounds):
        for step in ("raw", "raw jobs", "operator", "default", "raw jobs", "operator", "lifted"):
            if step == "raw":
                result = asyncio.run(measure.raw(lab, options.pods))
            elif step == "raw jobs":
                result = asyncio.run(measure.raw_jobs(lab, options.jobs))
            elif step == "operator":
                result = asyncio.run(measure.operator(lab, options.jobs))
            elif step == "default":
                result = asyncio.run(measure.builtin(lab, options.default_jobs, "builtin at defaults"))
            else:
                lab.manager_flags(*lifted)
                result = asyncio.run(measure.builtin(lab, options.jobs, "builtin, limits lifted"))
                lab.manager_flags()
                result["flags"] = list(lifted)
            yield {"round": number, **result}


def singles(lab: Lab, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What stands for itself: latency at steady rates, memory."""
    for rate in options.rates:
        yield asyncio.run(measure.latency(lab, rate, options.seconds))
    yield from asyncio.run(measure.memory(lab, options.sizes, options.quiet))


def gangs_alone(lab: Lab, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What has no contender."""
    yield asyncio.run(gangs.burst(lab, options.burst, 2))
    yield asyncio.run(gangs.one_gang(lab, options.gang, options.gangs))
    yield asyncio.run(gangs.replacement(lab, options.replacements))


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the ratios that the aims are about."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for result in results:
        if "round" in result:
            by_kind[result["what"]].append(result.get("createsPerSecond") or result["jobsPerSecond"])
    needed, spent = (_cpu(results, what) for what in ("raw jobs", "operator"))
    medians = {what: round(statistics.median(values), 2) for what, values in by_kind.items()}
    jobs = medians["operator"]
    return {
        "medians": medians,
        # What the server takes of these very objects, from a client that only writes: the limit for the operator.
        "ofTheRawLimit": round(jobs / medians["raw jobs"], 2),
        # A status costs the server twice as much as a pod, so this can't reach 1.
        "writesToRawPodCreates": round(jobs * WRITES_PER_JOB / medians["raw"], 2),
        # CPU of server and operator together, against the server's alone in the raw run: other load hardly shows in it.
        "workRatio": round(needed / spent, 2),
        "timesBuiltinAtDefaults": round(jobs / medians["builtin at defaults"], 1),
        "timesBuiltinLifted": round(jobs / medians["builtin, limits lifted"], 2),
    }


def _cpu(results: list[dict[str, Any]], what: str) -> float:
    """CPU milliseconds per job of all processes that were counted; the median of the rounds."""
    return statistics.median(sum(r["cpuMillisecondsPerJob"].values()) for r in results if r["what"] == what)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of four pods in one burst")
    parser.add_argument("--default-jobs", type=int, default=40, help="the same for the built-in controller at defaults")
    parser.add_argument("--pods", type=int, default=1500, help="pods of one raw measurement")
    parser.add_argument("--rates", type=float, nargs="*", default=[5.0, 20.0], help="jobs per second, open loop")
    parser.add_argument("--seconds", type=float, default=15.0, help="of one open loop")
    parser.add_argument("--sizes", type=int, nargs="*", default=[0, 200, 1000], help="jobs present, for memory")
    parser.add_argument("--quiet", type=float, default=10.0, help="seconds of rest before memory is read")
    parser.add_argument("--burst", type=int, default=500, help="jobs of two pods in one burst")
    parser.add_argument("--gang", type=int, default=256, help="pods of one large gang")
    parser.add_argument("--gangs", type=int, default=5, help="such gangs, one after the other")
    parser.add_argument("--replacements", type=int, default=50, help="gangs of four that lose a pod")
    parser.add_argument("--only-gangs", action="store_true", help="only these last three")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main() -> None:
    options = options_of()
    about = machine.describe()
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder, ControlPlane(Path(folder) / "plane") as plane:
        install_crds(plane.client)
        lab = Lab(plane, Path(folder))
        about["server"] = plane.client.get("/version")["gitVersion"]
        if not options.only_gangs:
            results = _told(itertools.chain(rounds(lab, options), singles(lab, options)))
            report = {"about": about, "summary": summary(results), "results": results}
            _write(options.results / f"{about['time'][:10]}-{about['commit']}.json", report)
            print(json.dumps(report["summary"], indent=1))
        _write(options.results / "gangs.json", {"about": about, "results": _told(gangs_alone(lab, options))})


def _told(results: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for result in results:
        found.append(result)
        print(json.dumps(result), flush=True)
    return found


def _write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
