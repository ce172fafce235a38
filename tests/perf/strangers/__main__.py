"""`python -m tests.perf.strangers [PART ...] [--nncf PYTHON] [--olive PYTHON]`: files of packages in default jobs.

Rows go to tests/perf/results/strangers.json as soon as they are known, each with commit, machine and load; PART picks
those whose name holds it. `python -m tests.perf.figures --write` puts them into docs/quantization.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.cluster.paths import REPOSITORY
from tests.perf import machine
from tests.perf.strangers.catalogue import CALIBRATED, FILES, File
from tests.perf.strangers.peers import APART, figures
from tests.unit.quantize import jobs
from workloads.quantize.context import Context
from workloads.quantize.job import Overrides, read_job
from workloads.quantize.ladder.candidates import FLOAT, candidate_of
from workloads.quantize.ladder.result import selected_of, tried

RESULT = Path(__file__).parents[1] / "results" / "strangers.json"
JOB_LIMIT, PEERS_LIMIT = 1800, 900  # seconds, beside other work


def prepare(file: File, folder: Path) -> Path:
    """Write the job with its data. Returns the model's path."""
    model = file.package.unpacked() / file.path
    for part, count, seed in (("calibration", CALIBRATED, 1), ("evaluation", file.count, 2)):
        numbers = np.random.default_rng(seed)
        np.savez(folder / f"{part}.npz", **{name: draw(numbers, count) for name, draw in file.inputs.items()})
    spec = {
        "model": {"uri": model.as_uri()},
        "calibration": {"uri": (folder / "calibration.npz").as_uri()},
        "evaluation": {"uri": (folder / "evaluation.npz").as_uri(), "metric": "agreement"},
        "output": {"uri": (folder / "out").as_uri()},
    }
    document = {"apiVersion": "slipway.dev/v1alpha1", "kind": "QuantizationJob", "metadata": {"name": "stranger"}}
    (folder / "job.yaml").write_text(yaml.safe_dump({**document, "spec": spec}))
    return model


def run(command: list[str], limit: float) -> tuple[int, str, float]:
    """Exit code (-1: too long), the last line of the errors, seconds."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return -1, f"stopped after {limit} s", limit
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")] or done.stderr.splitlines()
    return done.returncode, (told or [""])[-1], time.monotonic() - begun


def row_of(file: File, folder: Path, pythons: dict[str, str]) -> dict[str, Any]:
    """One file: the job, then the peers."""
    model = prepare(file, folder)
    code, words, seconds = run(["workloads", "quantize", "--config", str(folder / "job.yaml")], JOB_LIMIT)
    row: dict[str, Any] = {"code": code, "seconds": round(seconds, 1), "sizeBytes": model.stat().st_size}
    # No path of the machine that measured: only what the words say of the file.
    words = words.removeprefix("error: ").replace(model.as_uri(), model.name).replace(str(folder), "")
    if code:
        return {**row, "outcome": "refused" if code == 2 else "failed", "words": words[:400], "rightly": file.refused}
    job = read_job(folder / "job.yaml", Overrides())
    context = Context(job, jobs.work_of(job), jobs.quiet())
    selected = selected_of(context)
    row |= {"outcome": selected.outcome, "published": selected.published, "measure": context.judged.words}
    row |= {"float": figures(candidate_of(context, FLOAT)), "samples": file.count}
    row |= {"tried": [figures(candidate) for candidate in tried(context)]}
    if selected.published:
        row["own"] = figures(candidate_of(context, selected.published))
    command = ["tests.perf.strangers.peers", str(folder), str(model)]
    command += [word for name, python in pythons.items() for word in (f"--{name}", python)]
    code, words, _ = run(command, PEERS_LIMIT)
    peers = json.loads((folder / "peers.json").read_text()) if code == 0 else {"peersError": words[:300]}
    return {**row, **peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="of the names of rows")
    parser.add_argument("--nncf", metavar="PYTHON", help="an interpreter that has nncf and onnx")
    parser.add_argument("--olive", metavar="PYTHON", help="an interpreter that has olive-ai and onnxruntime")
    parser.add_argument("--missing", action="store_true", help="only rows that the result has not")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/slipway-strangers"))
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    pythons = {name: getattr(options, name) for name in APART if getattr(options, name)}
    for file in FILES:
        rows = json.loads(options.result.read_text()) if options.result.exists() else {}
        wanted = not options.parts or any(part in file.name for part in options.parts)
        if not wanted or (options.missing and file.name in rows):
            continue
        shutil.rmtree(options.folder, ignore_errors=True)
        options.folder.mkdir(parents=True)
        load = machine.load()
        row = row_of(file, options.folder, pythons)
        row["about"] = {**machine.describe(), "loadBefore": load, "loadAfter": machine.load()}
        rows = json.loads(options.result.read_text()) if options.result.exists() else {}
        options.result.write_text(json.dumps({**rows, file.name: row}, indent=1) + "\n")
        told = [row.get("published"), row.get("words", ""), row.get("peersError", "")]
        print(file.name, row["outcome"], *told, flush=True)
    shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
