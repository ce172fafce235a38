"""`python -m tests.perf.quantize_table`: the tables of docs/quantization.md, made from the benches' JSON.

With --check nothing is written, and the exit code is 1 when the document says something else.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[2] / "docs" / "quantization.md"


def percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def points(row: dict[str, Any]) -> str:
    """Drop with its interval, in points."""
    return f"{row['drop'] * 100:.2f} ({row['dropLow'] * 100:.2f} to {row['dropHigh'] * 100:.2f})"


def models(rows: dict[str, Any]) -> str:
    """One row for each real model."""
    lines = [
        "| model, samples | float | worst attempt | published | accuracy | drop, points (95 %) | size | p50 latency |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        candidates = {found["name"]: found for found in row["candidates"]}
        reference, chosen = candidates["float"], candidates[row["published"]]
        tried = [found for found in row["candidates"][1:] if found.get("accuracy") is not None]
        worst = min(tried, key=lambda found: found["accuracy"])
        what = " agreement" if row["metric"] == "agreement" else ""
        shown = percent(reference["accuracy"]) if not what else "(no labels)"
        size = f"{reference['sizeBytes'] / 1e6:.2f} to {chosen['sizeBytes'] / 1e6:.2f} MB"
        speed = f"{row['p50Ms']['float']:.2f} to {row['p50Ms'][row['published']]:.2f} ms"
        lines.append(
            f"| {name}, {row['samples']} | {shown} | {percent(worst['accuracy'])}{what} ({worst['name']}) "
            f"| {row['published']} | {percent(chosen['accuracy'])}{what} | {points(chosen)} | {size} | {speed} |"
        )
    return "\n".join(lines)


def calibration(report: dict[str, Any]) -> str:
    """Peak memory over the number of samples, and the search's time."""
    rows = [row for row in report["results"] if row["what"] == "memory"]
    sizes = sorted({row["samples"] for row in rows})
    lines = [
        f"| peak memory, MiB | {' | '.join(f'{size} samples' for size in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for who in dict.fromkeys(row["who"] for row in rows):
        peaks = {row["samples"]: row.get("peakMiB", "died") for row in rows if row["who"] == who}
        label = "Slipway, all methods in one pass" if who == "ours" else f"ONNX Runtime, {who}"
        lines.append(f"| {label} | {' | '.join(str(peaks.get(size, '')) for size in sizes)} |")
    summary = report["summary"]
    words = (
        f"The entropy search takes 1/{summary['entropyTimesFasterThanNvidiaAtLeast']:g} of the CPU time of NVIDIA's "
        f"published function and 1/{summary['entropyTimesFasterThanOnnxRuntimeAtLeast']:g} of ONNX Runtime's, on the "
        f"slowest of the histograms; thresholds identical to NVIDIA's: "
        f"{'yes, all' if summary['entropyIdenticalToNvidia'] else 'NO'}."
    )
    return "\n".join([*lines, "", words])


def about(found: dict[str, Any]) -> str:
    return f"{found['cpu']}, {found['cores']} cores, commit {found['commit']}, load {found['loadBefore']}"


def filled(text: str) -> str:
    """The document with its tables made anew, between their markers."""
    rows = json.loads((RESULTS / "quantize_models.json").read_text())
    bench = json.loads((RESULTS / "quantize.json").read_text())
    loads = [row["about"] for row in rows.values()]
    measured = "; ".join(dict.fromkeys(f"{one['cpu']}, {one['cores']} cores, commit {one['commit']}" for one in loads))
    tables = {
        "models": f"{models(rows)}\n\nMeasured on {measured}, beside other work.",
        "calibration": f"{calibration(bench)}\n\nMeasured on {about(bench['about'])}.",
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name}: made by tests.perf.quantize_table -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = DOCUMENT.read_text()
    if not check:
        DOCUMENT.write_text(filled(text))
    return int(check and filled(text) != text)


if __name__ == "__main__":
    sys.exit(main())
