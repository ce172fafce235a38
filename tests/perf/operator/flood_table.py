"""What a flood costs, what an object does, and the operator beside an earlier commit: asked by tests.perf.figures."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
WHAT = {
    "none": "none",
    "silent": "connections that say nothing",
    "half-head": "half a head after the handshake",
    "slow-body": "a byte of a body each second",
    "post": "posts with a made-up token",
    "connect": "the health port, connected and closed",
    "scrape": "the health port, metrics asked for",
}
COSTS = {
    "jobsPerSecond": "jobs of four pods a second",
    "cpuMillisecondsPerJob": "CPU of operator and servers, ms a job",
    "requestsPerJob": "requests a job",
    "rssMiB": "resident memory, MiB",
    "startSeconds": "start beside these jobs, s",
}


def floods() -> str:
    """How long a job waits in each kind of flood."""
    report = json.loads((RESULTS / "floods.json").read_text())
    found = report["summary"]
    lines = ["| flood | until a job's four pods are there | times as long as without |", "|---|---|---|"]
    for how, words in WHAT.items():
        times = found["times"].get(how)
        lines.append(f"| {words} | {found['milliseconds'][how]:.0f} ms | {'' if times is None else f'{times:.2f}'} |")
    memory = found["rssMiB"]
    words = f"The operator's memory stayed between {memory['least']:.0f} and {memory['most']:.0f} MiB."
    return "\n".join([*lines, "", *_source("floods.json", report, words)]) + "\n"


def before() -> str:
    """Medians of an earlier commit and of this one, in turns."""
    report = json.loads((RESULTS / "before.json").read_text())
    found = report["summary"]
    lines = [f"| | {report['about']['before']} | {report['about']['commit']} | ratio |", "|---|---|---|---|"]
    for key, words in COSTS.items():
        then, now = (found["medians"][name][key] for name in ("before", "now"))
        lines.append(f"| {words} | {then:.1f} | {now:.1f} | {found['nowToBefore'][key]:.2f} |")
    words = f"Medians of {len(report['results']) // 2} rounds."
    return "\n".join([*lines, "", *_source("before.json", report, words)]) + "\n"


def cache() -> str:
    """Memory by object, and with a tenant's large ones."""
    report = json.loads((RESULTS / "cache.json").read_text())
    lines = ["| objects | memory before | grown by | of each | after a start |", "|---|---|---|---|---|"]
    for row in report["results"]:
        memory, what = row["rssMiB"], f"{row['jobs']:,} {row['what']}"
        each = "" if row["namespaceFull"] else f"{row['bytesOfMemoryPerObject'] / 1024:.0f} KiB"
        figures = f"{memory['before']:.0f} MiB | {memory['grown']:.0f} MiB | {each} | {memory['afterAStart']:.0f} MiB"
        lines.append(f"| {what} | {figures} |")
    large = next(row for row in report["results"] if row["namespaceFull"])
    words = (
        f"Of the large ones {large['namespaceFull']} say `NamespaceFull`; another namespace's job has its pods after"
        f" {large['neighboursJobSeconds']:.1f} s beside them. Pods count as objects."
        " By `python -m tests.perf.operator.cache_bench`."
    )
    return "\n".join([*lines, "", *_source("cache.json", report, words)]) + "\n"


def _source(name: str, report: dict[str, Any], words: str) -> list[str]:
    about, loads = report["about"], [result["load"] for result in report["results"]]
    text = (
        f"{words} From [{name}](/tests/perf/results/{name}), commit {about['commit']}, {about['cores']} cores,"
        f" load {min(loads):.1f} to {max(loads):.1f}."
    )
    return textwrap.wrap(text, 120, break_on_hyphens=False, break_long_words=False)
