"""Requests for an object of each kind, and what a start of each program costs: asked by tests.perf.figures."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def requests() -> str:
    """Requests of the operator for one object, by kind."""
    report = json.loads((RESULTS / "requests.json").read_text())
    about, kinds = report["machine"], report["kinds"]
    lines = ["| one object, by itself | requests | events | status writes among them |", "|---|---|---|---|"]
    for name, row in kinds.items():
        status = sum(count for what, count in row["each"].items() if what.endswith("/status"))
        lines.append(f"| {name}: {row['what']} | {row['requests']:.1f} | {row['events']:.1f} | {status:.1f} |")
    loads = [row["load"] for row in kinds.values()]
    words = (
        f"Means of {report['objects']} objects one after another, by the server's audit log, without lists and watches;"
        " kubelets are scripted. `python -m tests.perf.operator.request_bench` measures it; this one is"
        f" [requests.json](/tests/perf/results/requests.json), commit {about['commit']}, {about['cores']} cores, load"
        f" {min(loads):.1f} to {max(loads):.1f}, Kubernetes {about['server']}."
    )
    return "\n".join([*lines, "", _wrapped(words), ""])


def starts() -> str:
    """CPU time and modules of each program before it does anything."""
    report = json.loads((RESULTS / "start.json").read_text())
    about, rows = report["machine"], report["starts"]
    lines = ["| start of | CPU, s | modules imported |", "|---|---|---|"]
    lines += [f"| {name} | {row['cpuSeconds']:.3f} | {row['modules']} |" for name, row in rows.items()]
    words = (
        f"The least of {report['rounds']} rounds in turn. `python -m tests.perf.operator.start_bench` measures it; this"
        f" one is [start.json](/tests/perf/results/start.json), commit {about['commit']}, {about['cores']} cores, load"
        f" {report['load']:.1f} at the end."
    )
    return "\n".join([*lines, "", _wrapped(words), ""])


def _wrapped(words: str) -> str:
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)
