"""Decisions about waiting gangs, by size of the cluster, as a table; used by figures.py."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def queue() -> str:
    """What one change in the cluster costs the operator's event loop while gangs wait."""
    report = json.loads((RESULTS / "queue.json").read_text())
    about, results = report["about"], report["results"]
    kinds = sorted({result["shapes"] for result in results})
    by_size: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
    for result in results:
        by_size.setdefault((result["nodes"], result["waiting"]), {})[result["shapes"]] = result["milliseconds"]
    rows = [
        f"| {nodes}, full of running gangs | {waiting} | "
        + " | ".join(f"{of[shapes]['p50']:.0f} ms (p95 {of[shapes]['p95']:.0f})" for shapes in kinds)
        + f" | {of[kinds[-1]]['first']:.0f} ms |"
        for (nodes, waiting), of in by_size.items()
    ]
    head = (
        "| nodes | waiting gangs | "
        + " | ".join(f"a change, {shapes} kind{'s' if shapes > 1 else ''} of gangs" for shapes in kinds)
        + " | the first decision |\n|---|---|"
        + "---|" * (len(kinds) + 1)
    )
    loads = [result["load"] for result in results]
    words = (
        "CPU of the event loop from an event (a pod ends, a stranger's pod comes, a gang is created) to the end of the"
        " decision that it causes; of events in a row one decision follows every 0.2 s, and decisions take an eighth"
        " of the loop's time at most. `python -m tests.perf.operator.queue_bench` measures it; this one is"
        f" [queue.json](/tests/perf/results/queue.json), commit {about['commit']}, {about['cores']} cores, load"
        f" {min(loads):.0f} to {max(loads):.0f}."
    )
    table = "\n".join(rows)
    return f"{head}\n{table}\n\n{textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)}\n"
