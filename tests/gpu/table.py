"""What has run on a GPU as Markdown, from tests/perf/results/gpu.json alone: asked by tests.perf.figures.

A step without a row that ran on a GPU stands there as never run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster.paths import REPOSITORY
from tests.gpu.step import STEPS

RESULT = REPOSITORY / "tests/perf/results/gpu.json"
FIGURES = ("away", "ms", "p50Ms", "p99Ms", "rps", "samplesPerSecond", "countedOverPeak", "allReduceMs", "watts")


def table(result: Path = RESULT) -> str:
    """A line for each step: what ran, with its figures, what was refused, and what never ran."""
    document = json.loads(result.read_text()) if result.exists() else {"machine": {}, "steps": []}
    machine = document["machine"]
    steps = {step["step"]: step for step in document["steps"]} if machine.get("device") == "cuda" else {}
    lines = [f"| {step.name} | {told(steps.get(step.name))} |" for step in STEPS]
    where = (
        f"On one {machine['gpu']}, PyTorch {machine['torch']}, commit {machine['commit']}, {machine['time'][:10]}."
        if steps
        else f"0 of {len(STEPS)} steps: no run on a GPU is recorded."
    )
    return "| `make gpu` | on a GPU |\n|---|---|\n" + "\n".join(lines) + f"\n\n{where}\n"


def told(step: dict[str, Any] | None) -> str:
    """One step in a cell of the table."""
    if step is None:
        return "never run"
    if not step.get("rows"):
        return f"{step['status']}: {step['reason']}".replace("|", "/")
    return "; ".join(_row(row) for row in step["rows"])


def _row(row: dict[str, Any]) -> str:
    figures = ", ".join(f"{key} {row[key]}" for key in FIGURES if row.get(key) is not None)
    if row.get("ok", True):
        return f"{row['what']}: {figures or 'ran'}"
    return f"{row['what']}: {'FAILED' if row['ok'] is False else 'not run'}, {row.get('why') or figures}".replace(
        "|", "/"
    )
