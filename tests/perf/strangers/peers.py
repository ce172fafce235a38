"""`python -m tests.perf.strangers.peers FOLDER MODEL [--nncf PYTHON] [--olive PYTHON]`: what others make of a job.

Each peer quantizes the file as it is, with its defaults, on the job's own calibration samples. Its model is then judged
as one more candidate of that job: same samples, same measure, same gates, and all that there are timed in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from slipway.api.quantization.ladder import Goal, Rung
from tests.unit.quantize import jobs
from workloads.measure import timing
from workloads.onnx.feeds import filled
from workloads.quantize.context import Context
from workloads.quantize.evaluation import benchmark, ranking
from workloads.quantize.job import Overrides, read_job
from workloads.quantize.ladder.candidates import FLOAT, Attempt, consider, model_path
from workloads.quantize.ladder.result import selected_of

SECONDS, MOST = 12.0, 100  # of calls in turns
LIMIT = 400  # seconds for one of those that run apart
APART = ("nncf", "olive")  # by a Python of their own


class Feeds:
    """ONNX Runtime's calibration data reader."""

    def __init__(self, calls: list[dict[str, Any]]) -> None:
        self._calls = iter(calls)

    def get_next(self) -> dict[str, Any] | None:
        """The next call's inputs."""
        return next(self._calls, None)


def calls_of(context: Context) -> list[dict[str, Any]]:
    """Inputs of the calibration's calls."""
    fixed = context.source.fixed_batch
    found = [context.calibration.read(batch).feeds for batch in context.calibration_batches]
    return [dict(filled(feeds, fixed) if fixed else feeds) for feeds in found]


def dynamic(model: Path, folder: Path, context: Context) -> Path:
    """onnxruntime.quantization.quantize_dynamic."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(model, folder / "dynamic.onnx")
    return folder / "dynamic.onnx"


def static(model: Path, folder: Path, context: Context) -> Path:
    """quantize_static, after the pre-processing that its documents ask for where that succeeds."""
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    try:
        quant_pre_process(model, prepared)
    except Exception:  # whatever its symbolic shapes trip over: most people go on with the file as it is
        prepared = model
    quantize_static(prepared, folder / "static.onnx", Feeds(calls_of(context)))
    return folder / "static.onnx"


def elsewhere(script: str, python: str, model: Path, folder: Path, context: Context) -> Path:
    """A quantizer's model, made by a script beside this one and by a Python that has that quantizer."""
    feeds, output = folder / "feeds.npz", folder / f"{script}.onnx"
    named = {f"{n}:{name}": rows for n, call in enumerate(calls_of(context)) for name, rows in call.items()}
    np.savez(feeds, **named)
    command = [python, str(Path(__file__).with_name(f"{script}.py")), str(model), str(feeds), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return output


def judged(context: Context, name: str, make: Callable[[Context], Path]) -> dict[str, Any]:
    """Figures of a peer's model, or its error."""
    try:
        path = make(context)
        attempt = Attempt(f"peer-{name}", Rung.DYNAMIC)
        candidate = consider(context, attempt, lambda: onnx.load(path))
    except Exception as error:  # a peer's error is its result
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error) else ''}"}
    if candidate is None or candidate.accuracy is None:
        return {"error": "" if candidate is None else candidate.message[:200]}
    return figures(candidate)


def figures(candidate: Any) -> dict[str, Any]:
    """Of a candidate, as the table needs them."""
    return {
        "name": candidate.name,
        "accuracy": candidate.accuracy,
        "drop": candidate.drop,
        "sqnrDb": candidate.sqnr_db,
        "sizeBytes": candidate.size_bytes,
        "passed": candidate.passed,
        "message": candidate.message,
    }


def timed(context: Context, names: list[str]) -> dict[str, float]:
    """Milliseconds of one call, the least CPU time of calls in turns; none where one cannot be timed."""
    feeds = context.evaluation.read(context.evaluation_batches(1)[0]).feeds
    fixed = context.source.fixed_batch
    feeds = filled(feeds, fixed) if fixed else feeds
    models = [onnx.load(model_path(context, name)) for name in names]
    threads = context.job.spec.benchmark.threads
    run = partial(benchmark.in_turns, models, feeds, threads=threads, clock=timing.clock_of(threads))
    first = run(iterations=2, warmup=1)
    rounds = max(5, min(MOST, int(SECONDS / max(1e-6, float(first.min(axis=1).sum())))))
    seconds = run(iterations=rounds, warmup=1)
    return {name: round(float(row.min()) * 1e3, 4) for name, row in zip(names, seconds, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    for name in APART:
        parser.add_argument(f"--{name}", metavar="PYTHON")
    options = parser.parse_args()
    job = read_job(options.folder / "job.yaml", Overrides())
    context = Context(job, jobs.work_of(job), jobs.quiet())
    makers: dict[str, Callable[[Context], Path]] = {
        "dynamic": partial(dynamic, options.model, options.folder),
        "static": partial(static, options.model, options.folder),
    }
    for name in APART:
        if python := getattr(options, name):
            makers[name] = partial(elsewhere, f"{name}_peer", python, options.model, options.folder)
    found = {name: judged(context, name, make) for name, make in makers.items()}
    published = selected_of(context).published or FLOAT
    names = dict.fromkeys([FLOAT, *([published] if model_path(context, published).exists() else [])])
    all_names = [*names, *(row["name"] for row in found.values() if "error" not in row)]
    milliseconds = timed(context, all_names)
    float_size = model_path(context, FLOAT).stat().st_size
    for row in found.values():
        if "error" not in row:
            row["ms"] = milliseconds[row["name"]]
            speedup = milliseconds[FLOAT] / row["ms"]
            row["noGain"] = ranking.no_gain(row["sizeBytes"] / float_size, speedup, Goal.BALANCED)
    own = {"floatMs": milliseconds[FLOAT], "ownMs": milliseconds.get(published)}
    (options.folder / "peers.json").write_text(json.dumps({"peers": found, **own}) + "\n")


if __name__ == "__main__":
    main()
