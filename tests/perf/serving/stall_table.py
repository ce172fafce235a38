"""The table of hostile clients, from what stall_bench.py has found. Called by tests/perf/figures.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "stalls.json"
KINDS = {
    "brackets": "8 x 64 KiB of gzip, 60 MiB of `[],` in `data`",
    "objects": "the same of `{},`",
    "texts": 'the same of `"a",`',
    "honest": "a batch of 32 x 3 x 224 x 224 as 53 MB of JSON",
    "binary": "8 x 64 MB of numbers in binary, of which the last is NaN",
    "stalled": "8 uploads of 63 MiB that stop 10 bytes before their end",
    "grpc": "30 calls at a time with messages of 62 MiB",
    "grpc, by calls": "the same, and the polite one asks over gRPC as well",
    "grpc, by health": "the same, and it asks for the health over gRPC",
    "pings": "8 connections of HTTP/2 with pings, and with streams given up at once; asked over gRPC",
    "picture 1460": "8 x PNG of 1460 x 1460",
    "picture 4000": "8 x PNG of 4000 x 4000",
    "picture 8000": "8 x PNG of 8000 x 8000",
}


ALLOWED = 2.0


def _row(what: str, row: dict[str, Any]) -> str:
    said = ", ".join(f"{count} x {name}" for name, count in sorted(row["answers"].items())) or "none in time"
    clock = " / ".join(f"{row['p99 ms'][phase]:.1f}" for phase in ("alone", "busy", "beside"))
    work, cores = (
        " / ".join(f"{row[name][phase]:.2f}" for phase in ("alone", "busy", "beside"))
        for name in ("CPU p99 ms", "no core p99 ms")
    )
    times = f"{row['times']:.1f}, {row['times busy']:.1f}"
    return f"| {what} | {clock} | {times} | {work} | {cores} | {row['MiB at most']}, {row['MiB allowed']} | {said} |"


def stalls() -> str:
    """A polite client's p99 alone and beside each hostile one."""
    report = json.loads(RESULT.read_text())
    rows = [_row(what, report["rows"][kind]) for kind, what in KINDS.items() if kind in report["rows"]]
    head = (
        "| beside a client that sends | p99 in ms: alone / beside a busy neighbour / beside it | times alone, busy |"
        " CPU of the loop before an answer, p99 ms | ready without a core, p99 ms | memory in MiB: most, allowed |"
        " what it is answered |\n|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *rows, ""])


def words() -> str:
    """What the table comes to."""
    rows = json.loads(RESULT.read_text())["rows"]
    less = [name for name, row in rows.items() if row["times"] < ALLOWED]
    busy = [name for name, row in rows.items() if row["times"] >= ALLOWED > row["times busy"]]
    within = [name for name, row in rows.items() if row["MiB at most"] <= row["MiB allowed"]]
    more = [name for name, row in rows.items() if min(row["times"], row["times busy"]) >= ALLOWED]
    text = f"Less than {ALLOWED:g} times the p99 alone: {len(less)} of {len(rows)} rows."
    if busy:
        text += f" Less than that against a busy neighbour's only: {', '.join(busy)}."
    if more:
        text += f" More: {', '.join(more)}."
    return f"{text} Memory is within its bound in {len(within)} of {len(rows)}."
