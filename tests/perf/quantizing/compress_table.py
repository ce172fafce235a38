"""What is each way to make a model smaller worth? Markdown from the committed JSON, for tests.perf.figures."""

import json
import textwrap
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "compress.json"

Row = dict[str, Any]


def methods() -> str:
    """One row per method, from the model as it was."""
    report = json.loads(RESULT.read_text())
    rows, about = report["results"], report["about"]
    lines = [
        "| a CNN on Fashion-MNIST | accuracy (95 %) | before the training that follows | parameters (of them zero) "
        "| MFLOPs | file, kB (packed) | p50, µs, batch 1 | batch 64 | times as fast, batch 64 |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(row) for row in rows),
    ]
    words = (
        f"{report['epochs']} epochs; {report['epochsAfter']} more after each step. ONNX Runtime, one thread, all models"
        " in turns in one process; times as fast: the median of the rounds' ratios. Packed: by zlib. FLOPs count zeros"
        f" as others. `python -m tests.perf.quantizing.compress_bench` measures it; this one is"
        f" [{RESULT.name}](/tests/perf/results/{RESULT.name}): {about['cpu']}, {about['cores']} cores,"
        f" commit {about['commit']}, load {about['loadBefore']} to {about['loadAfter']}."
    )
    whole = words.replace(" %", "\0%")
    text = textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")
    return "\n".join([*lines, "", text, ""])


def _row(row: Row) -> str:
    before = "" if row["beforeTraining"] is None else f"{row['beforeTraining'] * 100:.2f} %"
    cells = [
        row["what"],
        f"{row['accuracy'] * 100:.2f} % ({row['accuracyLow95'] * 100:.2f} to {row['accuracyHigh95'] * 100:.2f})",
        before,
        f"{row['parameters']} ({row['zeros']})",
        f"{row['flops'] / 1e6:.2f}",
        f"{row['sizeBytes'] / 1e3:.0f} ({row['packedBytes'] / 1e3:.0f})",
        f"{row['batch1']['p50Ms'] * 1e3:.0f}",
        f"{row['batch64']['p50Ms'] * 1e3:.0f}",
        f"{row['batch64']['timesAsFast']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"
