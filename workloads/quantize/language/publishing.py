"""Publishing of a language model that has climbed the ladder: the artifact with its probes, or the float model."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from slipway.api.common.artifact import Lineage, Source
from slipway.api.common.job_status import ArtifactStatus, Metric
from slipway.api.common.language import WeightQuantization
from slipway.api.quantization.settings import OnFailure
from slipway.api.quantization.status import Outcome, Report, Stage, StageResult
from workloads.errors import BadInput
from workloads.language import artifacts, packed, scoring
from workloads.language.config import checked
from workloads.language.text_tokenizer import TextTokenizer
from workloads.language.weights import empty
from workloads.quantize.job import Job
from workloads.quantize.language import tables
from workloads.quantize.language.forms import Form
from workloads.quantize.language.tables import Tried
from workloads.quantize.workdir import Work


def publish(
    job: Job,
    work: Work,
    form: Form,
    source: artifacts.LanguageArtifact,
    tried: Sequence[Tried],
    documents: Sequence[torch.Tensor],
    stage: Stage,
) -> StageResult:
    """Publish what passed, else what the job says of failure."""
    spec, passed = job.spec, next((one for one in tried if one.passed), None)
    rejected = passed is None and spec.on_failure is OnFailure.FAIL
    outcome = Outcome.QUANTIZED if passed else Outcome.REJECTED if rejected else Outcome.KEPT_FLOAT
    size = form.bytes_of(source.folder)
    report = tables.report(job, source.digest, size, tried, outcome)
    artifact: ArtifactStatus | None = None
    base, shown = work.folder.as_uri(), passed or tried[-1]
    if not rejected:
        said = _written(job, form, source, passed, documents, report)
        metrics = {"perplexity": shown.judged.perplexity if passed else shown.judged.float_perplexity}
        listed = [Metric(name=name, value=f"{value:.6g}") for name, value in metrics.items()]
        base = spec.output.uri
        artifact = ArtifactStatus(uri=base, digest=said.digest, metrics=listed, language=said.facts)
    else:
        for name, text in report.items():
            work.path(name).write_text(text)
    return StageResult(
        stage=stage,
        message=f"{shown.rung} {'is published' if passed else 'does not pass'}: {shown.words}"[:1024],
        source_digest=source.digest,
        comparison=tables.rows(size, tried),
        selected=shown.rung.value if passed else "",
        headline=tables.headline(size, shown),
        outcome=outcome,
        gates=shown.gates,
        artifact=artifact,
        report=Report(uri=f"{base}/{tables.REPORT_HTML}", digest=tables.digest(report[tables.REPORT_JSON])),
    )


def _written(
    job: Job,
    form: Form,
    source: artifacts.LanguageArtifact,
    passed: Tried | None,
    documents: Sequence[torch.Tensor],
    report: dict[str, str],
) -> artifacts.Draft:
    """Write the artifact, the candidate's files or the float model's."""
    at = source.folder if passed is None else passed.folder
    language = source.language
    if language is None:
        raise BadInput(f"{job.model_uri}: no sizes are known of this model")
    parameters = sum(one.numel() for one in empty(at).parameters())
    tokenizer, texts = TextTokenizer(source.folder), [one[0].tolist() for one in documents[:64]]
    prompts = scoring.beginnings(texts, tokenizer, language.context_length)
    lineage = Lineage(
        job=job.reference,
        sources=[Source(uri=job.model_uri, digest=source.digest)],
        recipe={"candidate": "float" if passed is None else passed.rung.value, "gates": job.spec.gates.wire()},
        framework={"python": platform.python_version(), "torch": torch.__version__},
    )
    said = artifacts.Draft(
        form.kind,
        lineage,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        parameters,
        _metrics(passed),
        language=language.model_copy(update={"quantization": _kept(at, passed, parameters)}),
    )
    with artifacts.publishing(job.spec.output.uri, job.writer, said) as folder:
        for name, text in report.items():
            (folder / name).write_text(text)
        form.publish(at, folder, prompts).write(folder)
    return said


def _kept(at: Path, passed: Tried | None, parameters: int) -> WeightQuantization | None:
    """Storage of the published weights, for artifact.json; None for floats."""
    settings = packed.settings_of(checked(at), at)
    if settings is None or passed is None:
        return None
    more = {"method": passed.rung.value, "bits_per_weight": 8 * passed.bytes_ / parameters}
    return settings.model_copy(update=more)


def _metrics(passed: Tried | None) -> dict[str, float]:
    if passed is None:
        return {}
    return {"perplexity": passed.judged.perplexity, "floatPerplexity": passed.judged.float_perplexity}
