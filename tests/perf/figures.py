"""Every figure in README and docs comes from here: `python -m tests.perf.figures --write|--check`.

Reads the newest committed results in tests/perf/results and renders Markdown between `<!-- figures:NAME -->` and
`<!-- /figures -->`. A test runs --check, so that no figure stands in a text that no result shows.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.paths import REPOSITORY
from tests.conformance.clients import table as client_table
from tests.gpu import table as gpu_table
from tests.perf.emulated import saturation as saturation_table
from tests.perf.operator import flood_table, queue_table, start_table
from tests.perf.quantizing import compress_table, quantize_table
from tests.perf.serving import serve_table, stall_table
from tests.perf.strangers import table as strangers_table
from tests.perf.training import train_table

RESULTS = Path(__file__).parent / "results"
TEXTS = (
    "docs/README.md",
    "docs/clients.md",
    "docs/performance.md",
    "docs/operations.md",
    "docs/quantization.md",
    "docs/compression.md",
    "docs/serving.md",
    "docs/adr/0013-the-endpoint-stays-in-the-operator.md",
    "docs/adr/0018-no-compiled-server.md",
)
BLOCK = re.compile(r"(<!-- figures:(\w+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
CONNECTIONS = (1, 8, 32, 128)


def newest(pattern: str) -> tuple[str, dict[str, Any]]:
    """Name and content of the result whose name sorts last: names begin with the date."""
    path = max(RESULTS.glob(pattern))
    return path.name, json.loads(path.read_text())


def operator() -> str:
    """Jobs a second, latency and memory of the operator."""
    name, report = newest("20*.json")
    about, ratios, medians = report["about"], report["summary"], report["summary"]["medians"]
    rows = [
        ("the API server alone, given the same objects by a client that only writes", medians["raw jobs"]),
        ("**Slipway's operator**", medians["operator"]),
        ("batch/v1 Jobs, kube-controller-manager at its defaults", medians["builtin at defaults"]),
        ("batch/v1 Jobs, its client limits lifted", medians["builtin, limits lifted"]),
    ]
    table = "\n".join(f"| {what} | {jobs:.1f} |" for what, jobs in rows)
    told = "; ".join(_latency(r) for r in report["results"] if r["what"] == "latency")
    memory = ", ".join(
        f"{r['rssMiB']:.0f} MiB with {r['jobs']} jobs" for r in report["results"] if r["what"] == "memory"
    )
    words = (
        f"{ratios['ofTheRawLimit']:.2f} of what this server takes of these very objects"
        f" ({ratios['writesToRawPodCreates']:.2f} when every write is counted as a bare pod's),"
        f" {ratios['timesBuiltinAtDefaults']:.1f} times the built-in controller at its defaults,"
        f" {ratios['timesBuiltinLifted']:.1f} times it without limits."
        f" From creation to all pods created at a steady rate: {told}. Memory: {memory}."
    )
    source = (
        f"`make bench` measures all of this in one run; this one is [{name}](/tests/perf/results/{name}),"
        f" {about['cores']} cores shared by operator, API server and etcd, Kubernetes {about['server']}."
    )
    head = "| jobs of four pods in a burst, all pods created | jobs/s |\n|---|---|"
    return f"{head}\n{table}\n\n{_wrapped(words)}\n\n{_wrapped(source)}\n"


def sizing() -> str:
    """Memory, CPU and speed of the operator, for whoever sets its limits."""
    name, report = newest("20*.json")
    about, results, summary = report["about"], report["results"], report["summary"]
    memory = ", ".join(f"{r['rssMiB']:.0f} MiB with {r['jobs']} jobs" for r in results if r["what"] == "memory")
    spent = statistics.median(r["cpuMillisecondsPerJob"]["operator"] for r in results if r["what"] == "operator")
    rows = [
        ("memory of the operator", memory),
        ("CPU of the operator", f"{spent:.0f} ms for a job of four pods, until all are created"),
        (
            "jobs a second",
            f"{summary['medians']['operator']:.0f}, which is {summary['ofTheRawLimit']:.2f} of what a bare client"
            " reaches with the same objects",
        ),
    ]
    table = "\n".join(f"| {what} | {figure} |" for what, figure in rows)
    source = (
        f"Measured on {about['cores']} shared cores against Kubernetes {about['server']}:"
        f" [{name}](/tests/perf/results/{name}). More, and the commands, are in [performance](performance.md)."
    )
    return f"| what | figure |\n|---|---|\n{table}\n\n{_wrapped(source)}\n"


def _wrapped(words: str) -> str:
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)


def _latency(result: dict[str, Any]) -> str:
    ms = result["milliseconds"]
    return f"{result['jobsPerSecond']:.0f} jobs/s p50 {ms['p50']:.0f} ms, p99 {ms['p99']:.0f} ms"


def gangs() -> str:
    """Bursts, large gangs, and gangs that lost a pod."""
    name, report = newest("gangs*.json")
    about, found = report["about"], {result["what"]: result for result in report["results"]}
    burst, gang, replaced = found["burst"], found["gang"], found["replacement"]
    one, again = gang["milliseconds"], replaced["milliseconds"]
    rows = [
        (
            f"{burst['jobs']} jobs of {burst['nodes']} pods in a burst, all pods created",
            f"{burst['jobsPerSecond']:.1f} jobs/s, {burst['seconds']:.1f} s in all",
        ),
        (
            f"one job of {gang['nodes']} pods, from its creation to its last pod's",
            f"p50 {one['p50'] / 1000:.2f} s, slowest of {gang['times']} {one['max'] / 1000:.2f} s",
        ),
        (
            f"a pod of {replaced['nodes']} is killed, until all {replaced['nodes']} of the next attempt are created",
            f"p50 {again['p50']:.0f} ms, p99 {again['p99']:.0f} ms",
        ),
    ]
    table = "\n".join(f"| {what} | {figure} |" for what, figure in rows)
    loads = [result["load"] for result in report["results"]]
    words = (
        "Without kubelets, so without the time that processes take to end and images to come. `python -m"
        f" tests.perf.operator.bench --only-gangs` measures it; this one is [{name}](/tests/perf/results/{name}),"
        f" commit {about['commit']}, {about['cores']} cores, load {min(loads):.1f} to {max(loads):.1f}."
    )
    return f"| gangs | |\n|---|---|\n{table}\n\n{_wrapped(words)}\n"


def serving() -> str:
    """Requests a second of the server and its peers."""
    name, report = newest("serve*.json")
    about, median = report["machine"], report["median"]
    kinds = list(dict.fromkeys(key.split("@")[0] for key in median if "@" in key))
    rows = []
    for kind in kinds:
        cells = [median.get(f"{kind}@{c}") for c in CONNECTIONS]
        shown = " | ".join(f"{c['rps']:.0f} ({c['cpu_us']:.0f} µs)" if c else "-" for c in cells)
        rows.append(f"| {serve_table.label(kind, report.get('peers', {}))} | {shown} |")
    head = " | ".join(f"{c} connection{'s' if c > 1 else ''}" for c in CONNECTIONS)
    head = f"| requests/s (CPU per request), one row each | {head} |\n|---|{'---|' * len(CONNECTIONS)}"
    table = "\n".join(rows)
    words = (
        "One model of 1.3 million parameters, ONNX Runtime on one thread everywhere; medians of rounds in which the"
        " servers take turns. `python -m tests.perf.serving.serve_bench` measures it; this one is"
        f" [{name}](/tests/perf/results/{name}),"
        f" {about['cores']} cores, load {about['load'][0]:.1f} at the start."
    )
    return f"{head}\n{table}\n\n{_wrapped(words)}\n{_steady(median, report.get('peers', {}))}"


def sizes() -> str:
    """The server's share of its engine, by size of the model."""
    name, report = newest("sizes*.json")
    about, models = report["machine"], report["models"]
    rows = [
        f"| {model['model']} | {model['engine_us']:.0f} µs | "
        + " | ".join(f"{model[who]['rps']:.0f} ({model[who]['ratio']:.2f})" for who in ("slipway", "triton"))
        + " |"
        for model in models
    ]
    head = (
        "| model | engine's time for a row | **slipway**: requests/s (share of the engine) | triton |\n"
        "|---|---|---|---|"
    )
    words = (
        "Binary requests of one row at 32 connections, one engine thread, medians of rounds in which engine and servers"
        " take turns; the client uses the same cores. `python -m tests.perf.serving.size_bench` measures it; this one"
        f" is [{name}](/tests/perf/results/{name}), commit {about['commit']}, {about['cores']} cores, load"
        f" {about['load'][0]:.1f} at the start."
    )
    return "\n".join([head, *rows, "", _wrapped(words), ""])


def _steady(median: dict[str, Any], peers: dict[str, str]) -> str:
    """Latency under an open loop, where the run has it."""
    rows = [
        f"| {serve_table.label(what, peers)} | {r['offered_rps']:.0f} | {r['p50_ms']:.1f} | {r['p99_ms']:.1f} |"
        for what, r in median.items()
        if " at " in what
    ]
    if not rows:
        return ""
    words = "At a steady share of what each gives this generator at most, by a Poisson process, counted from when due:"
    return "\n".join(["", words, "", "| open loop | requests/s | p50 ms | p99 ms |", "|---|---|---|---|", *rows, ""])


def remembered() -> str:
    """A server's memory after many requests."""
    name, report = newest("memory*.json")
    about = report["machine"]
    words = (
        f"Resident memory of a server after {report['requests']:,} mixed requests, a third of them refused:"
        f" {report['last MiB']:.0f} MiB, {report['ratio']:.2f} times the {report['first MiB']:.0f} MiB after the first"
        f" {report['first requests']:,}. `python -m tests.perf.serving.memory_bench` measures it; this one is"
        f" [{name}](/tests/perf/results/{name}), {about['cores']} cores, load {report['load']} at the start."
    )
    return f"{_wrapped(words)}\n"


def clients() -> str:
    """Clients that others wrote, and how they were answered."""
    name, report = newest("clients*.json")
    about = report["machine"]
    words = (
        "`CLIENTS_PYTHON=... python -m tests.conformance.clients` gives them the inputs, the variable naming an"
        " interpreter with the Python clients; this run is"
        f" [{name}](/tests/perf/results/{name}), commit {about['commit']}, {about['cores']} cores, load"
        f" {about['load']:.1f} at the start."
    )
    return f"{client_table.tables(report)}\n{_wrapped(words)}\n"


def stalled() -> str:
    """What hostile clients cost a polite one."""
    report = json.loads(stall_table.RESULT.read_text())
    about, rows = report["machine"], report["rows"].values()
    loads, commits = [row["load"] for row in rows], sorted({row["commit"] for row in rows})
    words = (
        f"{stall_table.words()} `python -m tests.perf.serving.stall_bench` measures it; this one is"
        f" [stalls.json](/tests/perf/results/stalls.json), commit {', '.join(commits)}, {about['cores']} cores, load"
        f" {min(loads):.1f} to {max(loads):.1f}. The hostile client and the neighbour, which takes as many cores and"
        f" asks nothing, run when nobody else wants a core ({report['hostile priority']}). Allowed memory is what the"
        f" server holds at rest and the {report['buffered MiB']} MiB that requests may hold, plus a fifth."
    )
    return f"{stall_table.stalls()}\n{_wrapped(words)}\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "operator": operator,
    "sizing": sizing,
    "gangs": gangs,
    "queue": queue_table.queue,
    "requests": start_table.requests,
    "starts": start_table.starts,
    "floods": flood_table.floods,
    "before": flood_table.before,
    "cache": flood_table.cache,
    "serving": serving,
    "sizes": sizes,
    "remembered": remembered,
    "stalls": stalled,
    "peers": serve_table.peers,
    "compiled": serve_table.compiled,
    "edges": serve_table.edges,
    "transformed": serve_table.transformed,
    "clients": clients,
    "trained": train_table.trainer,
    "quantized": quantize_table.models,
    "rungs": quantize_table.rungs,
    "calibrated": quantize_table.calibration,
    "strangers": strangers_table.files,
    "saturation": saturation_table.table,
    "compressed": compress_table.methods,
    "gpu": gpu_table.table,
}


def rendered(text: str) -> str:
    """The text with all its blocks as the results have them."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for name in TEXTS:
        path = REPOSITORY / name
        before = path.read_text()
        after = rendered(before)
        if options.write:
            path.write_text(after)
        elif before != after:
            sys.exit(
                f"{name}: its figures are not those of tests/perf/results; run python -m tests.perf.figures --write"
            )


if __name__ == "__main__":
    main()
