"""`python -m tests.perf.quantizing.quantize_models [NAME ...]`: real models end to end, as a user would run them; their
figures.

Each model's row goes to tests/perf/results/quantize_models.json as soon as it is known, with commit, machine and load;
`python -m tests.perf.figures --write` puts the rows into README and docs/quantization.md.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from tests.models import fashion, lite0, magika, minilm
from tests.models.command import quantized
from tests.perf import machine

RESULT = Path(__file__).parents[1] / "results" / "quantize_models.json"
MODELS = {
    "Magika v3.3": magika.prepare,
    "MiniLM-L6 and a linear layer, static": minilm.prepare,
    "MiniLM-L6 and a linear layer, dynamic": minilm.prepare_dynamic,
    "EfficientNet-Lite0": lite0.prepare,
    "CNN, 3-bit weights": fashion.prepare,
}
KEPT = (
    "name",
    "rung",
    "accuracy",
    "drop",
    "dropLow",
    "dropHigh",
    "agreement",
    "sqnrDb",
    "sizeBytes",
    "floatNodes",
    "passed",
)


def row_of(report: dict[str, Any]) -> dict[str, Any]:
    """What a table needs of a report; every candidate's figures with it."""
    candidates = [{key: row[key] for key in KEPT if key in row} for row in report["candidates"]]
    benchmark = report["benchmark"]
    return {
        "published": report["published"],
        "samples": sum(next(row["pairs"] for row in report["candidates"] if "pairs" in row).values()),
        "metric": report["spec"]["evaluation"].get("metric", "top-1"),
        "limit": next(row["limit"] for row in report["candidates"] if "limit" in row),
        "candidates": candidates,
        "p50Ms": benchmark["p50Ms"],
        "speedup": benchmark["speedup"],
        "judgedIn": report["judgedIn"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--folder", type=Path, help="keep all files here, and go on with what was interrupted")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-models-") as temporary:
        for name in options.names:
            folder = (options.folder or Path(temporary)) / re.sub(r"\W+", "-", name).lower()
            folder.mkdir(parents=True, exist_ok=True)
            load = machine.load()
            report = quantized(folder.name, folder, MODELS[name](folder))
            about = {**machine.describe(), "loadBefore": load, "loadAfter": machine.load()}
            row = {**row_of(report), "about": about}
            rows = json.loads(options.result.read_text()) if options.result.exists() else {}
            options.result.write_text(json.dumps({**rows, name: row}, indent=1) + "\n")
            print(json.dumps({"model": name, **row}), flush=True)


if __name__ == "__main__":
    main()
