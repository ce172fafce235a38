"""The trainer's figures as Markdown, from tests/perf/results/train.json: asked by tests.perf.figures."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "train.json"


def trainer() -> str:
    """Overhead and stall, then memory by strategy."""
    report = json.loads(RESULT.read_text())
    (overhead,) = [row for row in report["rows"] if row["what"] == "overhead"]
    memory = [row for row in report["rows"] if row["what"] == "memory"]
    tables = [_overhead(overhead), *([_memory(memory)] if memory else [])]
    return "\n\n".join([*tables, _source(report, overhead["turns"])]) + "\n"


def _overhead(row: dict[str, Any]) -> str:
    parameters = f"{row['parameters'] / 1e6:.2f} million parameters"
    return "\n".join(
        [
            f"| a CNN of {parameters}, {row['processes']} processes | |",
            "|---|---|",
            f"| steps/s of a bare, hand-written DDP loop | {row['bareStepsPerSecond']:.1f} |",
            f"| steps/s of `workloads train` | {row['stepsPerSecond']:.1f} |",
            f"| ratio, turn by turn: by the clock, by CPU time | {row['ratio']:.3f}, {row['cpuRatio']:.3f} |",
            f"| a checkpoint, every {row['checkpointEverySteps']} steps, stops training for |"
            f" {row['stallSecondsPerSave'] * 1e3:.1f} ms, {row['stallShareOfStepTime']:.1%} of those steps' time |",
        ]
    )


def _memory(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"| GPT-2 of {rows[0]['parameters'] / 1e6:.0f} million parameters, 2 processes | peak of one, beyond imports |"
        " perplexity by epoch | tokens/s |",
        "|---|---|---|---|",
    ]
    for row in rows:
        peak = (row["peakBytes"] - row["importedBytes"]) / 2**20
        falls = ", ".join(f"{value:.0f}" for value in row["perplexity"])
        lines.append(f"| {row['strategy']} | {peak:.0f} MiB | {falls} | {row['tokensPerSecond']:.0f} |")
    return "\n".join(lines)


def _source(report: dict[str, Any], turns: int) -> str:
    about, loads = report["machine"], [row["load"] for row in report["rows"]]
    load = " to ".join(dict.fromkeys(f"{value:.1f}" for value in (min(loads), max(loads))))
    commits = ", ".join(dict.fromkeys(row["commit"] for row in report["rows"]))
    words = (
        "Epochs of the two loops take turns in the same two processes; ratios are medians of"
        f" {turns} turns. `python -m"
        " tests.perf.training.train_bench` measures it; this one is [train.json](/tests/perf/results/train.json):"
        f" {about['cpu']}, {about['cores']} cores, commit {commits}, load {load}."
    )
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)
