"""What does quantizing cost, and what does it save? Markdown from the committed JSON, for tests.perf.figures."""

import json
import textwrap
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
MODELS, CALIBRATION = "quantize_models.json", "quantize.json"

Row = dict[str, Any]


def models() -> str:
    """One row for each real model, from the float model to the one that is published."""
    rows: dict[str, Row] = json.loads((RESULTS / MODELS).read_text())
    lines = [
        "| model, samples | float | all static, per tensor | all static, per channel | published by itself | accuracy "
        "| drop, points (95 %) | size, MB | p50, ms |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_model(name, row) for name, row in rows.items()),
    ]
    machines = dict.fromkeys(
        f"{row['about']['cpu']}, {row['about']['cores']} cores, commit {row['about']['commit']}"
        for row in rows.values()
    )
    loads = [row["about"][when] for row in rows.values() for when in ("loadBefore", "loadAfter")]
    words = (
        "All static: the best of four ways to choose the ranges, with nothing kept in float. *: no labels; the share of"
        " samples on which it answers as the float model does. One thread; float and quantized are called in turns."
        " `python -m tests.perf.quantizing.quantize_models` measures it;"
        f" this one is [{MODELS}](/tests/perf/results/{MODELS}):"
        f" {'; '.join(machines)}; load {min(loads):.1f} to {max(loads):.1f}, other work beside it."
    )
    return "\n".join([*lines, "", _wrapped(words), ""])


def _model(name: str, row: Row) -> str:
    found = {candidate["name"]: candidate for candidate in row["candidates"]}
    reference, chosen = found["float"], found[row["published"]]
    mark = "*" if row["metric"] == "agreement" else ""
    cells = [
        f"{name}, {row['samples']}",
        _percent(reference["accuracy"]) if not mark else "",
        *(_best(row, rung, mark) for rung in ("static-per-tensor", "static-per-channel")),
        row["published"],
        f"{_percent(chosen['accuracy'])}{mark}",
        f"{chosen['drop'] * 100:.2f} ({chosen['dropLow'] * 100:.2f} to {chosen['dropHigh'] * 100:.2f})",
        f"{reference['sizeBytes'] / 1e6:.2f} to {chosen['sizeBytes'] / 1e6:.2f}",
        f"{row['p50Ms']['float']:.2f} to {row['p50Ms'][row['published']]:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _best(row: Row, rung: str, mark: str = "") -> str:
    """Accuracy of the best candidate of a rung; nothing when the rung was not climbed."""
    tried = [c["accuracy"] for c in row["candidates"] if c.get("rung") == rung and c.get("accuracy") is not None]
    return f"{_percent(max(tried))}{mark}" if tried else ""


def rungs() -> str:
    """What the best candidate of every rung was worth, model by model."""
    rows: dict[str, Row] = json.loads((RESULTS / MODELS).read_text())
    told = []
    for name, row in rows.items():
        climbed = dict.fromkeys(c["rung"] for c in row["candidates"][1:] if c.get("accuracy") is not None)
        worth = ", ".join(f"{rung} {_best(row, rung)}" for rung in climbed)
        told.append(_wrapped(f"- {name}, at most {row['limit'] * 100:.2f} points allowed: {worth}", after="  "))
    return "\n".join([*told, ""])


def calibration() -> str:
    """Peak memory over the number of samples, and the search's time."""
    report = json.loads((RESULTS / CALIBRATION).read_text())
    rows = [row for row in report["results"] if row["what"] == "memory"]
    sizes = sorted({row["samples"] for row in rows})
    lines = [
        f"| peak memory, MiB | {' | '.join(f'{size} samples' for size in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for who in dict.fromkeys(row["who"] for row in rows):
        peaks = {row["samples"]: row.get("peakMiB", "died") for row in rows if row["who"] == who}
        label = "**Slipway, all methods in one pass**" if who == "ours" else f"ONNX Runtime, {who}"
        lines.append(f"| {label} | {' | '.join(str(peaks.get(size, '')) for size in sizes)} |")
    summary, about = report["summary"], report["about"]
    words = (
        f"The entropy search takes 1/{summary['entropyTimesFasterThanNvidiaAtLeast']:.0f} of the CPU time of NVIDIA's"
        f" published function and 1/{summary['entropyTimesFasterThanOnnxRuntimeAtLeast']:.0f} of ONNX Runtime's, on the"
        f" slowest of the histograms; thresholds identical to NVIDIA's:"
        f" {'all' if summary['entropyIdenticalToNvidia'] else 'not all'}."
        f" `python -m tests.perf.quantizing.quantize_bench` measures it; this one is"
        f" [{CALIBRATION}](/tests/perf/results/{CALIBRATION}): {about['cpu']}, {about['cores']} cores,"
        f" commit {about['commit']}, load {about['loadBefore']} at the start."
    )
    return "\n".join([*lines, "", _wrapped(words), ""])


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _wrapped(words: str, after: str = "") -> str:
    """Lines of 120 characters; a number and its unit stay together."""
    whole = words.replace(" %", "\0%")
    lines = textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False, subsequent_indent=after)
    return lines.replace("\0", " ")
