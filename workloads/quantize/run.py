"""Run of a job up to the published model: one stage in a pod, or all in order on a laptop. Called by the command."""

from slipway.api.common.job_status import ArtifactStatus, Metric
from slipway.api.quantization.status import SHARDED, Candidate, Outcome, Report, Stage, StageResult
from workloads.errors import BadInput
from workloads.pod.termination import LIMIT, tell
from workloads.quantize import language
from workloads.quantize.context import Context
from workloads.quantize.eta import Rate, WorkPlan, steps_of
from workloads.quantize.evaluation import ranking
from workloads.quantize.job import Job
from workloads.quantize.ladder import result
from workloads.quantize.ladder.candidates import FLOAT, candidate_of
from workloads.quantize.ladder.order import finished, next_stage
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.report.figures import warnings_of
from workloads.quantize.stages import baseline, benchmark, calibrate, export, ladder, publish
from workloads.quantize.workdir import Work

PACE = "pace"  # of the record that holds how long the stages took
ROWS = 24  # candidates in a termination message, before its length is known


class Rejected(Exception):  # noqa: N818 (a verdict, not an accident)
    """Error when no candidate passed, and the job says that this is a failure.

    Exit code 3: running again cannot help.
    """


def run_all(job: Job, reporter: ProgressReporter) -> StageResult:
    """Run every stage that is left, in this process."""
    if language.is_language_model(job.model_uri):
        return _language(job, reporter, Stage.EXPORT)
    context = _opened(job, reporter, shards=job.spec.parallelism)
    stage, message = next_stage(job.spec, context.work), "the job was done before"
    while stage is not None:
        reporter.begin(stage)
        for shard in range(job.spec.parallelism if stage in SHARDED else 1):
            message = _run(context, stage, shard)
            reporter.say(f"[{stage}] {message}")
        _arrived(context, stage)
        stage = next_stage(job.spec, context.work)
    return _conclude(context, Stage.PUBLISH, message)


def run_stage(job: Job, reporter: ProgressReporter, stage: Stage, shard: int) -> StageResult:
    """Run one stage, and note what comes next.

    A stage whose time has passed does nothing; one too early is BadInput.
    """
    if language.is_language_model(job.model_uri):
        return _language(job, reporter, stage)
    context = _opened(job, reporter, shards=1)
    reporter.begin(stage)
    due, message = next_stage(job.spec, context.work), "done before"
    if due is stage:
        message = _run(context, stage, shard)
        reporter.say(f"[{stage}] {message}")
        if shard == 0:
            _arrived(context, stage)
    elif not finished(job.spec, context.work, stage):
        raise BadInput(f"stage {stage} cannot run: {due} is due, or it ran with another work folder")
    return _conclude(context, stage, message)


def _language(job: Job, reporter: ProgressReporter, stage: Stage) -> StageResult:
    """The whole job of a language model, which has no stages."""
    from workloads.quantize.language.run import run

    found = run(job, reporter, stage)
    write_message(found)
    if found.outcome is Outcome.REJECTED:
        raise Rejected(f"no candidate passes the gates: {found.message}")
    return found


def _opened(job: Job, reporter: ProgressReporter, shards: int) -> Context:
    context = Context(job, Work.at(job.work_uri, job.folder), reporter)
    reporter.plan(WorkPlan(steps_of(job.spec, shards), Rate.of(context.work.lines(PACE))))
    reporter.figures(result.figures(context))
    return context


def _arrived(context: Context, stage: Stage) -> None:
    """Report a stage as done, and keep how long it took, by which the next one judges the time left."""
    context.reporter.figures(result.figures(context))
    context.work.append(PACE, {"stage": stage, **context.reporter.stage_done().record()})


def _run(context: Context, stage: Stage, shard: int) -> str:
    """Run one stage; returns a sentence for people."""
    if stage is Stage.CALIBRATE:
        return calibrate.run(context, shard)
    if stage is Stage.SENSITIVITY:
        return ladder.analyse(context, shard)
    if stage in {Stage.QUANTIZE, Stage.QAT}:
        return ladder.climb(context, stage)
    if stage is Stage.COMPRESS:
        from workloads.quantize.stages import compress  # imports torch: only for jobs that ask for it

        return compress.run(context)
    plain = {
        Stage.EXPORT: export.run,
        Stage.BASELINE: baseline.run,
        Stage.BENCHMARK: benchmark.run,
        Stage.PUBLISH: publish.run,
    }
    return plain[stage](context)


def _conclude(context: Context, stage: Stage, message: str) -> StageResult:
    """Say how it stands: to the kubelet, and by Rejected to the caller when the job has failed."""
    found = result_of(context, stage, message)
    write_message(found)
    if found.next is None:
        context.reporter.close(finished=found.outcome is not Outcome.REJECTED)
    if found.outcome is Outcome.REJECTED:
        raise Rejected(
            f"no candidate passes the gates; the report says why: {found.report.uri if found.report else ''}"
        )
    return found


def result_of(context: Context, stage: Stage, message: str) -> StageResult:
    """Result that the operator carries into the status."""
    source, published = context.work.read("source"), context.work.read("published")
    measured = context.work.read(f"candidates/{FLOAT}") is not None
    rows = [candidate_of(context, FLOAT), *ranking.marked(result.tried(context))] if measured else []
    selected = result.selected_of(context)
    ended = published is not None
    return StageResult(
        stage=stage,
        next=next_stage(context.job.spec, context.work),
        message=message[:1024],
        source_digest=source["digest"] if source else None,
        warnings=[warning[:1024] for warning in warnings_of(context)[:16]] if measured else [],
        comparison=telling(rows, ROWS),
        selected=(selected.published or "") if ended else "",
        headline=result.headline(context),
        outcome=Outcome(published["outcome"]) if published else None,
        gates=result.gates(context) if ended else [],
        artifact=_artifact(context, published["artifact"]) if published and "artifact" in published else None,
        report=Report.model_validate(published["report"]) if published else None,
    )


def telling(rows: list[Candidate], count: int) -> list[Candidate]:
    """The float model, the Pareto front, what else passes, and then the most accurate, in their own order."""
    worth = sorted(rows[1:], key=lambda row: (not row.pareto, not row.passed, -(row.accuracy or 0.0)))
    worth = worth[: max(0, count - 1)]
    kept = {row.name for row in worth}
    return rows[:1] + [row for row in rows[1:] if row.name in kept]


def _artifact(context: Context, record: dict[str, str]) -> ArtifactStatus:
    name = result.selected_of(context).published or FLOAT
    candidate = candidate_of(context, name)
    figures = {"accuracy": candidate.accuracy, "drop": candidate.drop, "sizeBytes": candidate.size_bytes}
    metrics = [Metric(name=key, value=f"{value:.6g}") for key, value in figures.items() if value is not None]
    return ArtifactStatus(uri=record["uri"], digest=record["digest"], metrics=metrics)


def write_message(found: StageResult) -> None:
    """Write the termination message, cut until the kubelet takes it; nothing outside a pod.

    It is cut row by row and word by word.
    """
    tell(fitting(found))


def fitting(found: StageResult) -> str:
    """The result as JSON of at most LIMIT bytes: short verdicts, then fewer candidates, then no warnings."""
    rows = [row.model_copy(update={"message": row.message[:96]}) for row in found.comparison]
    for count in range(len(rows), 0, -1):
        text = _json(found.model_copy(update={"comparison": telling(rows, count)}))
        if len(text.encode()) <= LIMIT:
            return text
    least = {"comparison": rows[:1], "warnings": [], "message": found.message[:200]}
    return _json(found.model_copy(update=least))


def _json(found: StageResult) -> str:
    return found.model_dump_json(by_alias=True, exclude_none=True)
