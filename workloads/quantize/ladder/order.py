"""Order of a job's stages and rungs, and the next one to run.

Read off the records in the work folder, so that whoever asks gets the same answer.
"""

from slipway.api.quantization.ladder import CALIBRATED, CHEAP, Rung, climbing, goal_of
from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.api.quantization.status import SHARDED, Stage
from workloads.quantize.context import COMPRESSED
from workloads.quantize.ladder.candidates import FLOAT, candidate_in
from workloads.quantize.ladder.rungs import climbed
from workloads.quantize.workdir import Work

CALIBRATION, SENSITIVITY = "calibration", "sensitivity"


def shards_done(work: Work, kind: str, count: int) -> bool:
    """Tell whether every shard of a sharded stage has left its record."""
    return all(work.read(f"{kind}/{shard}-of-{count}") is not None for shard in range(count))


def next_stage(spec: QuantizationJobSpec, work: Work) -> Stage | None:
    """The stage to run now; None when the job is done."""
    if work.read("source") is None:
        return Stage.EXPORT
    if work.read(f"candidates/{FLOAT}") is None:
        return Stage.BASELINE
    if spec.compression is not None and work.read(COMPRESSED) is None:
        return Stage.COMPRESS
    stage = _ladder_stage(spec, work)
    if stage is not None:
        return stage
    if work.read("benchmark") is None:
        return Stage.BENCHMARK
    return Stage.PUBLISH if work.read("published") is None else None


def next_rung(spec: QuantizationJobSpec, work: Work) -> Rung | None:
    """The rung to climb now; None when one has passed or all have been tried. Cheap rungs that compete are one."""
    compete = goal_of(spec.ladder, spec.optimize_for) is not None
    passed = False
    for rung in climbing(spec.ladder, spec.optimize_for):
        if passed and not (compete and rung in CHEAP):
            return None
        done = climbed(work, rung)
        if done is None:
            return rung
        passed = passed or any(candidate_in(work, name).passed for name in done.candidates)
    return None


def _ladder_stage(spec: QuantizationJobSpec, work: Work) -> Stage | None:
    rung = next_rung(spec, work)
    if rung is None:
        return None
    if rung in CALIBRATED and not shards_done(work, CALIBRATION, spec.parallelism):
        return Stage.CALIBRATE
    if rung is Rung.MIXED_PRECISION and not shards_done(work, SENSITIVITY, spec.parallelism):
        return Stage.SENSITIVITY
    return Stage.QAT if rung is Rung.QAT else Stage.QUANTIZE


def finished(spec: QuantizationJobSpec, work: Work, stage: Stage) -> bool:
    """Tell whether a stage that is not due has done its work; otherwise it is too early for it."""
    if stage in SHARDED:
        return shards_done(work, CALIBRATION if stage is Stage.CALIBRATE else SENSITIVITY, spec.parallelism)
    if stage in {Stage.QUANTIZE, Stage.QAT}:
        own = {Rung.QAT} if stage is Stage.QAT else set(spec.ladder) - {Rung.QAT}
        return any(climbed(work, rung) is not None for rung in own)
    names = {
        Stage.EXPORT: "source",
        Stage.BASELINE: f"candidates/{FLOAT}",
        Stage.COMPRESS: COMPRESSED,
        Stage.BENCHMARK: "benchmark",
        Stage.PUBLISH: "published",
    }
    return work.read(names[stage]) is not None
