"""Stages quantize, sensitivity and qat: the rungs of the ladder, until one passes or another stage's work is needed."""

from slipway.api.quantization.ladder import goal_of
from slipway.api.quantization.settings import CalibrationMethod
from slipway.api.quantization.status import Stage
from workloads.quantize.context import Context
from workloads.quantize.evaluation import ranking
from workloads.quantize.ladder import result, rungs, sensitivity
from workloads.quantize.ladder.candidates import best, most_accurate
from workloads.quantize.ladder.order import next_rung, next_stage


def climb(context: Context, stage: Stage) -> str:
    """Climb the rungs that belong to this stage. Returns a sentence for people."""
    tried = []
    while next_stage(context.job.spec, context.work) is stage:
        rung = next_rung(context.job.spec, context.work)
        assert rung is not None  # noqa: S101 (otherwise the next stage would be another one)
        context.reporter.climb(rung)
        rungs.climb(context, rung)
        context.reporter.figures(result.figures(context))
        tried.append(rung)
    candidates = [
        candidate
        for rung in tried
        if (done := rungs.climbed(context.work, rung))
        for candidate in rungs.candidates_of(context, [done])
    ]
    winner = best(candidates, goal_of(context.job.spec.ladder, context.job.spec.optimize_for))
    if winner is not None:
        passing = [candidate for candidate in candidates if candidate.passed]
        front = ", ".join(candidate.name for candidate in ranking.front(passing))
        words = f"; {len(passing)} of {len(candidates)} pass, Pareto front: {front}" if passing[1:] else ""
        return f"{winner.name} passes: {winner.message}{words}"
    nearest = most_accurate(candidates)
    return (
        f"nothing passes yet; nearest is {nearest.name}: {nearest.message}"
        if nearest
        else "no candidate could be built"
    )


def analyse(context: Context, shard: int) -> str:
    """Measure a shard of the parts. Returns a sentence for people."""
    base = rungs.start(context)
    sensitivity.measure(context, shard, base.per_channel, CalibrationMethod(base.method))
    return f"sensitivity of shard {shard} measured, with {base.method} ranges"
