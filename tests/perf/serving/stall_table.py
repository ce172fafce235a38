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
    "stalled": "8 uploads of 63 MiB that stop 10 bytes before their end",
    "grpc": "30 calls at a time with messages of 62 MiB",
    "picture 1460": "8 x PNG of 1460 x 1460",
    "picture 4000": "8 x PNG of 4000 x 4000",
    "picture 8000": "8 x PNG of 8000 x 8000",
}


def _row(what: str, row: dict[str, Any]) -> str:
    said = ", ".join(f"{count} x {name}" for name, count in sorted(row["answers"].items())) or "none in time"
    clock = f"{row['p99 ms alone']:.0f}, {row['p99 ms beside']:.0f} ({row['times']:.1f})"
    work = f"{row['CPU p99 ms alone']:.2f}, {row['CPU p99 ms beside']:.2f}"
    times = row["CPU p99 ms beside"] / row["CPU p99 ms alone"]
    return f"| {what} | {work} ({times:.1f}) | {clock} | {row['MiB at most']}, {row['MiB allowed']} | {said} |"


def stalls() -> str:
    """A polite client's p99 alone and beside each hostile one."""
    report = json.loads(RESULT.read_text())
    rows = [_row(what, report["rows"][kind]) for kind, what in KINDS.items() if kind in report["rows"]]
    head = (
        "| beside a client that sends | CPU of the loop before an answer, p99 ms: alone, beside (times) | the clock |"
        " memory in MiB: most, allowed | what it is answered |\n|---|---|---|---|---|"
    )
    return "\n".join([head, *rows, ""])
