"""Tables of the server beside its peers, compiled, and with what a service may ask for. Called by figures.py."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
# Who a row is about; the versions are in the result.
NAMES = {
    "before": "Slipway at {}",
    "triton": "Triton 2.51.0, Python backend with ONNX Runtime",
    "triton-onnxruntime": "Triton 2.51.0, its own ONNX Runtime backend",
    "bare": "uvicorn {}, a bare ASGI application before our batcher",
    "litserve": "LitServe {}",
    "fastapi": "FastAPI {}, a batcher of the textbook",
    "kserve": "KServe {}",
    "mlserver": "MLServer {}",
    "bentoml": "BentoML {}",
}


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def _wrapped(words: str) -> str:
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)


def _source(name: str, module: str) -> str:
    report = _read(name)
    about, (before, after) = report["machine"], report["load"]
    return (
        f"`python -m tests.perf.serving.{module}` measures it; this one is"
        f" [{name}.json](/tests/perf/results/{name}.json), commit {about['commit']}, {about['cores']} cores, load"
        f" {before} to {after}."
    )


def label(kind: str, peers: dict[str, str]) -> str:
    """A row's first cell: who, its version, and the form of the request."""
    who, _, form = kind.partition(" ")
    if who == "slipway":
        return f"**{kind}**"
    return f"{_name(who, peers)}: {form}"


def _name(who: str, peers: dict[str, str]) -> str:
    return NAMES.get(who, who).format(peers.get(who, "")).replace(" ,", ",").strip()


def peers() -> str:
    """CPU time of a request beside the peers', and beside ours as it was."""
    report = _read("peers")
    about, median, versions = report["machine"], report["median"], report["peers"]
    lines = []
    for who in dict.fromkeys(kind.split()[0] for kind in median):
        seen = [median.get(f"{who} {form}@32") for form in ("binary", "json")]
        cells = " | ".join(f"{one['cpu_us']:.0f} µs" if one else "" for one in seen)
        name = "**Slipway**" if who == "slipway" else _name(who, versions)
        lines.append(f"| {name} | {cells} |")
    loads = [one["load"] for one in report["rounds"]]
    words = (
        "CPU time of all of a server's processes, kernel and engine included, at 32 connections; medians of rounds in"
        " which the servers take turns. Other work wanted the same cores, so there are no rates here. `python -m"
        " tests.perf.serving.serve_bench --connections 32 --closed` measures it; this one is"
        f" [peers.json](/tests/perf/results/peers.json), commit {about['commit']}, {about['cores']} cores, load"
        f" {min(loads):.1f} to {max(loads):.1f}."
    )
    return "\n".join(
        ["| CPU of a request of one row | binary | JSON |\n|---|---|---|", *lines, "", _wrapped(words), ""]
    )


def compiled() -> str:
    """CPU time of a request, as it is and compiled."""
    rows = _read("compiled")["rows"]
    lines = [
        f"| {way} | "
        + " | ".join(f"{one['cpu_us']:.0f} µs ({one['times cheaper']:.2f})" for one in forms.values())
        + " |"
        for way, forms in rows.items()
    ]
    head = "| CPU of a request at 32 connections (times cheaper) | binary | JSON |\n|---|---|---|"
    words = "Medians of rounds in which the servers take turns; the kernel's and the engine's part are in it. "
    return "\n".join([head, *lines, "", _wrapped(words + _source("compiled", "compiled_bench")), ""])


def edges() -> str:
    """What keys, origins, ids and the log cost."""
    rows = _read("edge")["rows"]
    lines = [f"| {way} | {one['microseconds']:.0f} µs ({one['ratio']:.2f}) |" for way, one in rows.items()]
    return "\n".join(
        [
            "| fields of the edge | CPU of a request |\n|---|---|",
            *lines,
            "",
            _wrapped(_source("edge", "edge_bench")),
            "",
        ]
    )


def transformed() -> str:
    """What own code costs."""
    rows = _read("transform")["rows"]
    lines = [
        f"| {way} | " + " | ".join(f"{one['cpu_us']:.0f} µs, {one['p50_ms']:.2f} ms" for one in by.values()) + " |"
        for way, by in rows.items()
    ]
    head = "| CPU of a request, median latency | 1 connection | 8 connections |\n|---|---|---|"
    words = (
        "A kilobyte in and forty bytes out, twice through a worker process, by functions that give back what they get. "
    )
    return "\n".join([head, *lines, "", _wrapped(words + _source("transform", "transform_bench")), ""])
