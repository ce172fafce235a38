"""One trial of a graph: the stages up to the ladder's end in this process, and what may not come of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from slipway.api.quantization.status import Candidate, Stage
from tests.unit.onnx_graphs.random.generator import feeds_of
from tests.unit.quantize import jobs
from workloads.errors import BadInput
from workloads.quantize import run
from workloads.quantize.context import Context
from workloads.quantize.graph.tidy import tidy
from workloads.quantize.ladder.candidates import candidate_of, model_path
from workloads.quantize.ladder.order import next_stage
from workloads.quantize.ladder.rungs import climbed

SAMPLES, BATCH, FLOOR_DB = 24, 8, 8.0
CHEAP = ("static-per-tensor", "static-per-channel", "dynamic", "weight-only-int8")


def tried(folder: Path, model: Any, ladder: Sequence[str], *, external: bool = False) -> str:
    """Quantize a graph. Returns the words of a refusal, or of what was built; anything else is the test's failure."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    np.savez(folder / "data.npz", x=feeds_of(model, SAMPLES))
    try:
        context = climb_all(job_in(folder, tuple(ladder)))
    except BadInput as refusal:
        return f"refused: {refusal}"
    rows = rows_of(context, ladder)
    for row in rows:
        if row.passed:
            assert_like(path, model_path(context, row.name), feeds_of(model, SAMPLES, 1))
    return f"built {[row.name for row in rows if row.accuracy is not None]} of {len(rows)}: " + "; ".join(
        row.message for row in rows if row.accuracy is None
    )


@lru_cache(maxsize=64)
def job_in(folder: Path, ladder: tuple[str, ...]) -> Any:
    """The job, read once for all graphs that are tried in one folder."""
    data = {"uri": (folder / "data.npz").as_uri()}
    fields: dict[str, Any] = {
        "calibration": {**data, "methods": ["min-max"]},
        "evaluation": {**data, "metric": "agreement", "task": "closeness", "batchSize": BATCH},
        "ladder": list(ladder),
        "gates": {"accuracy": {"maxDrop": 0.05}},
    }
    return jobs.job(folder / "job", folder / "model.onnx", **fields)


def climb_all(job: Any) -> Context:
    """All stages before the benchmark."""
    context = run._opened(job, jobs.quiet(), shards=1)
    while (stage := next_stage(job.spec, context.work)) not in {Stage.BENCHMARK, None}:
        context.reporter.begin(stage)
        run._run(context, stage, 0)
        run._arrived(context, stage)
    return context


def rows_of(context: Context, ladder: Sequence[str]) -> list[Candidate]:
    done = [climbed(context.work, rung) for rung in context.job.spec.ladder]
    return [candidate_of(context, name) for each in done if each is not None for name in each.candidates]


def assert_like(given: Path, found: Path, feeds: Any) -> None:
    """The same ports, and answers near enough on samples that nobody has judged by."""
    first, second = _session(given), _session(found)
    for ports in ("get_outputs", "get_inputs"):
        named = [[(port.name, port.type) for port in getattr(each, ports)()] for each in (first, second)]
        assert named[0] == named[1]
    fixed = first.get_inputs()[0].shape[0]
    step = fixed if isinstance(fixed, int) else len(feeds)
    # All rows, whatever a call takes: of one row alone nobody can tell what is clipped from what is ruined.
    calls = [feeds[start : start + step] for start in range(0, len(feeds) - step + 1, step)]
    expected, answers = (_joined([each.run(None, {"x": rows}) for rows in calls]) for each in (first, second))
    for before, after in zip(expected, answers, strict=True):
        assert before.shape == after.shape
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(expected, answers, strict=True)]
    signal = sum(float((before**2).sum()) for before, _ in pairs)
    noise = sum(_usual((before - after) ** 2) for before, after in pairs)
    assert not np.isfinite(signal) or noise <= signal / 10 ** ((FLOOR_DB - 4) / 10) + 1e-12


def _joined(calls: list[list[Any]]) -> list[Any]:
    """The outputs of all calls, one after the other."""
    return (
        calls[0]
        if len(calls) == 1
        else [np.concatenate([np.atleast_1d(a) for a in each]) for each in zip(*calls, strict=True)]
    )


def _usual(errors: Any) -> float:
    """Without the worst eighth of the rows: a sample beyond all that was calibrated on is clipped, as it should be."""
    rows = np.sort(errors.reshape(len(errors), -1).sum(1)) if errors.ndim else errors.reshape(1)
    return float(rows[: max(1, len(rows) - len(rows) // 8)].sum())


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # In memory: from a path, ONNX Runtime does not find the external data of some graphs with bodies.
    model = onnx.load(path)
    tidy(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
