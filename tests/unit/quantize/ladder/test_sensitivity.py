"""What is measured part by part: harm in the task's metric, of operators as a whole, and true when done again."""

import json
from pathlib import Path

import pytest

from slipway.api.quantization.settings import CalibrationMethod
from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from workloads import storage
from workloads.quantize.algorithms import qdq
from workloads.quantize.context import Context
from workloads.quantize.evaluation import answers
from workloads.quantize.ladder import sensitivity
from workloads.quantize.run import run_stage

FIELDS = {
    **jobs.NARROW,
    "calibration": {**jobs.DIGITS, "samples": 60, "methods": ["min-max"]},
    "sensitivity": {"granularity": "op-type", "metric": "task", "samples": 60},
    "gates": {"size": {"maxRatio": 0.01}},
    "ladder": ["static-per-tensor", "mixed-precision"],
}


def test_operators_as_a_whole_by_the_tasks_metric(digits: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, digits, **FIELDS)
    jobs.run(job)
    report = json.loads((storage.fetch(job.spec.output.uri) / "report.json").read_text())
    parts, context = report["sensitivity"], Context(job, jobs.work_of(job), jobs.quiet())
    types = {node.name: node.op_type for node in context.prepared.graph.node}
    assert {part["part"]: part["nodes"] for part in parts} == {
        op: sum(types[name] == op for name in context.nodes) for op in {types[name] for name in context.nodes}
    }
    assert [part["lost"] for part in parts] == sorted((part["lost"] for part in parts), reverse=True)
    assert parts[0]["lost"] > 0
    assert lost_by(context, parts[0]["part"], types) == pytest.approx(parts[0]["lost"])
    mixed = [row for row in report["candidates"] if row["rung"] == "mixed-precision"]
    assert {types[name] for name in mixed[0]["floatNodeNames"]} == {parts[0]["part"]}


@pytest.mark.parametrize("metric", ["sqnr", "task"])
def test_the_ranking_follows_the_metric(digits: Path, tmp_path: Path, metric: str) -> None:
    """The less noise a part makes here, the more answers it costs: the two orders are each other's reverse."""
    job = jobs.job(tmp_path, digits, sensitivity={"granularity": "node", "metric": metric})
    run_stage(job, jobs.quiet(), Stage.EXPORT, 0)
    context = Context(job, jobs.work_of(job), jobs.quiet())
    names = [part.name for part in sensitivity.parts_of(context)]
    for number, name in enumerate(names):
        line = {"part": name, "sqnrDb": float(number), "lost": number / 100}
        context.work.append(context.shard_name(sensitivity.KIND, 0), line)
    assert len(names) >= 5
    ranked = [part.name for part in sensitivity.ranking(context)]
    assert ranked == (names if metric == "sqnr" else names[::-1])


def test_passes_keep_to_the_memory_of_evaluations_calls(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All samples were read at once, and called in batches of calibration's size whatever that took."""
    job = jobs.job(tmp_path, digits, **FIELDS)
    for stage in (Stage.EXPORT, Stage.BASELINE, Stage.CALIBRATE):
        run_stage(job, jobs.quiet(), stage, 0)
    work = jobs.work_of(job)
    context = Context(job, work, jobs.quiet())
    whole = sensitivity.Passes(context)
    assert len(next(iter(whole))) == 16
    work.write("source", {**work.require("source"), "together": 7})
    monkeypatch.setattr(sensitivity, "KEPT", 3 * 7 * 64 * 4)
    few = sensitivity.Passes(context)
    sizes = [len(batch) for batch in few]
    assert max(sizes) == 7
    assert sum(sizes) == 60
    assert next(iter(few)) is not next(iter(few))  # read anew
    assert next(iter(whole)) is next(iter(whole))
    assert few.labels is not None
    assert whole.labels is not None
    assert few.labels.tolist() == whole.labels.tolist()


def lost_by(context: Context, op_type: str, types: dict[str, str]) -> float:
    """Share of the calibration samples that the model gets wrong once this operator alone has 2-bit weights."""
    nodes = [name for name in context.nodes if types[name] == op_type]
    ranges = context.ranges(CalibrationMethod.MIN_MAX)
    model = qdq.static(context.prepared, ranges, context.profile, nodes, per_channel=False, bits=2)
    reference, found = (
        answers.answers(one, context.calibration, context.calibration_batches) for one in (context.prepared, model)
    )
    return float(reference.right().mean() - found.right().mean())
