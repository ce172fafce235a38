"""Stage calibrate: one pass over a shard's batches, for all methods.

The statistics are kept as often as that costs little, so a killed pod loses little: after every batch when batches are
slow, and never for more than a twentieth of the time.
"""

import time
from typing import Any

from workloads import storage
from workloads.errors import Corrupt
from workloads.onnx import external_data
from workloads.quantize.calibration import statistics
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.statistics import Statistics
from workloads.quantize.context import Context
from workloads.quantize.ladder.order import CALIBRATION

SAVING = 0.05  # share of the time that saving may take


def run(context: Context, shard: int) -> str:
    """Collect and keep the statistics of a shard. Returns a sentence for people."""
    name = context.shard_name(CALIBRATION, shard)
    if context.work.read(name) is not None:
        return f"shard {shard} was done before"
    if external_data.held(context.prepared):
        statistics.save(context.work.path(f"{name}.npz"), {}, {"done": 0})
        context.work.write(name, {"batches": 0, "samples": 0, "notFinite": []})
        return "a model over 2 GB: no rung that needs ranges is tried"
    mine = context.calibration_batches[shard :: context.job.spec.parallelism]
    made_for = {
        "model": storage.sha256_of(context.prepared_path),
        "data": context.calibration.digest,
        "batches": len(context.calibration_batches),
    }
    collected, done = _resume(context, name, made_for)
    observer, saved, cost = Observer(context.prepared), time.monotonic(), 0.0
    for index, chosen in enumerate(context.reporter.track(mine[done:], "calibration", done), start=done + 1):
        observer.observe(context.calibration.read(chosen).feeds, collected)
        begin = time.monotonic()
        if begin - saved >= cost / SAVING:
            statistics.save(context.work.path(f"{name}.npz"), collected, {**made_for, "done": index})
            saved = time.monotonic()
            cost = saved - begin
    statistics.save(context.work.path(f"{name}.npz"), collected, {**made_for, "done": len(mine)})
    samples = sum(len(chosen) for chosen in mine)
    not_finite = sorted(tensor for tensor, found in collected.items() if found.not_finite)
    context.work.write(name, {"batches": len(mine), "samples": samples, "notFinite": not_finite})
    return f"{samples} samples seen by {len(collected)} tensors"


def _resume(context: Context, name: str, made_for: dict[str, Any]) -> tuple[Statistics, int]:
    path = context.work.path(f"{name}.npz")
    if not path.exists():
        return {}, 0
    try:
        collected, about = statistics.load(path)
    except Corrupt as error:
        context.reporter.say(f"calibration starts again: {error}")
        return {}, 0
    if {key: about.get(key) for key in made_for} != made_for:
        context.reporter.say("calibration starts again: the saved statistics are of another model or other data")
        return {}, 0
    context.reporter.say(f"calibration goes on after {about['done']} batches")
    return collected, int(about["done"])
