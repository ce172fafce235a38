"""Whole job of a language model in one stage: rungs in order until one passes, judged from its files, then published.

Finished layers and judged candidates stay in the work folder, so an attempt that was killed goes on. Called by
quantize.run in place of the stages, which are those of ONNX graphs.
"""

import html
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from slipway.api.common.artifact import Lineage
from slipway.api.common.artifact import Source as LineageSource
from slipway.api.common.job_status import ArtifactStatus, Metric
from slipway.api.common.language import ArtifactKind, WeightQuantization
from slipway.api.common.sources import DatasetChoice, DatasetName
from slipway.api.quantization.ladder import LADDER, LANGUAGE_LADDER, Rung
from slipway.api.quantization.settings import OnFailure
from slipway.api.quantization.status import Candidate, GateResult, Headline, Outcome, Report, Stage, StageResult
from workloads import data
from workloads.data.texts.supervised import SupervisedSet
from workloads.errors import BadInput
from workloads.language import artifacts, packed, scoring
from workloads.language.config import checked
from workloads.language.layerwise import Layerwise
from workloads.language.text_tokenizer import TextTokenizer
from workloads.quantize.job import Job
from workloads.quantize.language import candidate, judging
from workloads.quantize.language.candidate import Wanted
from workloads.quantize.language.gates import verdict
from workloads.quantize.language.judging import Judged
from workloads.quantize.language.rounding import Scheme
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.workdir import Work

GROUP = 64
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
REPORT_JSON, REPORT_HTML = "report.json", "report.html"


@dataclass(frozen=True)
class Tried:
    """A candidate with its verdict."""

    rung: Rung
    judged: Judged
    bytes_: int
    gates: list[GateResult]
    words: str

    @property
    def passed(self) -> bool:
        """True when every gate holds."""
        return all(gate.passed for gate in self.gates)


def run(job: Job, reporter: ProgressReporter, stage: Stage) -> StageResult:
    """Climb, publish, tell. BadInput for a job that no language model can be put through."""
    spec = job.spec
    ladder = list(LANGUAGE_LADDER) if tuple(spec.ladder) == LADDER else list(spec.ladder)
    strange = [rung.value for rung in ladder if rung not in LANGUAGE_LADDER]
    if strange:
        known = ", ".join(rung.value for rung in LANGUAGE_LADDER)
        raise BadInput(f"ladder: {strange[0]} is not for language models, {known} are")
    source = artifacts.read(job.model_uri, spec.model.digest)
    if source.kind is not ArtifactKind.CAUSAL_LM or "quantization_config" in checked(source.folder):
        raise BadInput(f"{job.model_uri}: expected a causal-lm with float weights")
    work = Work.at(job.work_uri, job.folder)
    float_model = Layerwise(source.folder)
    documents = _documents(job, source.folder, evaluation=True)
    calibration = _documents(job, source.folder, evaluation=False)
    tried: list[Tried] = []
    for rung in ladder:
        found = _try(job, work, float_model, source.folder, rung, documents, calibration, reporter)
        tried.append(found)
        reporter.say(f"[{rung}] {'passes' if found.passed else 'refused'}: {found.words}")
        if found.passed:
            break
    return _publish(job, work, source, tried, documents, stage)


def _documents(job: Job, folder: Path, *, evaluation: bool) -> list[torch.Tensor]:
    """Texts as int64 [1, length] each: held-out ones to judge, training ones to calibrate."""
    chosen = job.spec.evaluation if evaluation else job.spec.calibration
    if chosen is None:
        return []
    field = "evaluation" if evaluation else "calibration"
    choice: DatasetChoice | None = chosen.dataset
    if choice is None or choice.name is not DatasetName.SFT:
        raise BadInput(
            f"{field}: a language model is judged on texts: set dataset: {{name: sft, uri: ..., format: text}}"
        )
    uri = folder.absolute().as_uri()
    found = data.open_set(choice.model_copy(update={"tokenizer": uri, "packing": None, "loss": "all"}))
    if not isinstance(found, SupervisedSet):
        raise BadInput(f"{field}.dataset holds no texts")
    part = found.held_out if evaluation else found.training
    count = min(len(part), chosen.samples or len(part))
    rows = [part.batch([index])[0][0] for index in range(count)]
    return [torch.from_numpy(row[0][row[1] > 0])[None] for row in rows if int((row[1] > 0).sum()) > 1]


def _scheme(job: Job, rung: Rung, folder: Path) -> Scheme:
    said, wanted = checked(folder), job.spec.weights
    name = str(said.get("dtype") or said.get("torch_dtype") or "float32")
    symmetric = bool(wanted.symmetric)
    bits = 8 if rung is Rung.WEIGHT_ONLY_INT8 else 4
    return Scheme(bits, wanted.group_size or GROUP, symmetric, DTYPES.get(name, torch.float32))


def _try(  # noqa: PLR0913, PLR0917 (parts of one job, in one place)
    job: Job,
    work: Work,
    float_model: Layerwise,
    folder: Path,
    rung: Rung,
    documents: Sequence[torch.Tensor],
    calibration: Sequence[torch.Tensor],
    reporter: ProgressReporter,
) -> Tried:
    at, name = work.folder / "language" / rung.value, f"language/{rung}-judged"
    needed = calibration if rung in {Rung.AWQ_INT4, Rung.GPTQ_INT4} else []
    wanted = Wanted(rung, _scheme(job, rung, folder), list(job.spec.exclude.nodes))
    candidate.build(float_model, folder, wanted, needed, at)
    record = work.read(name)
    if record is None:
        # From what was written, as everybody will read it.
        record = asdict(judging.judge(float_model, Layerwise(at), documents))
        if all(map(_finite, record.values())):
            work.write(name, record)
    judged, size = Judged(**record), candidate.bytes_of(at)
    found = verdict(judged, size / candidate.bytes_of(folder), job.spec.gates)
    return Tried(rung, judged, size, found.gates, found.words)


def _finite(values: Sequence[float]) -> bool:
    return all(value == value and abs(value) != float("inf") for value in values)  # noqa: PLR0124


def _publish(
    job: Job,
    work: Work,
    source: artifacts.LanguageArtifact,
    tried: list[Tried],
    documents: Sequence[torch.Tensor],
    stage: Stage,
) -> StageResult:
    """Publish what passed, else what the job says of failure."""
    spec, passed = job.spec, next((one for one in tried if one.passed), None)
    rejected = passed is None and spec.on_failure is OnFailure.FAIL
    outcome = Outcome.QUANTIZED if passed else Outcome.REJECTED if rejected else Outcome.KEPT_FLOAT
    report = _report(job, source, tried, outcome)
    artifact: ArtifactStatus | None = None
    base = work.folder.as_uri()
    if not rejected:
        digest = _written(job, work, source, passed, documents, report)
        shown = passed or tried[-1]
        metrics = {"perplexity": shown.judged.perplexity if passed else shown.judged.float_perplexity}
        listed = [Metric(name=name, value=f"{value:.6g}") for name, value in metrics.items()]
        artifact, base = ArtifactStatus(uri=spec.output.uri, digest=digest, metrics=listed), spec.output.uri
    else:
        work.path(REPORT_JSON).write_text(report[REPORT_JSON])
        work.path(REPORT_HTML).write_text(report[REPORT_HTML])
    where = Report(uri=f"{base}/{REPORT_HTML}", digest=_digest(report[REPORT_JSON]))
    shown = passed or tried[-1]
    return StageResult(
        stage=stage,
        message=f"{shown.rung} {'is published' if passed else 'does not pass'}: {shown.words}"[:1024],
        source_digest=source.digest,
        comparison=_rows(source, tried),
        selected=shown.rung.value if passed else "",
        headline=_headline(source, shown),
        outcome=outcome,
        gates=shown.gates,
        artifact=artifact,
        report=where,
    )


def _digest(text: str) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _rows(source: artifacts.LanguageArtifact, tried: list[Tried]) -> list[Candidate]:
    size = candidate.bytes_of(source.folder)
    words = f"perplexity {tried[0].judged.float_perplexity:.3f}"
    rows = [Candidate(name="float", size_bytes=size, message=words)]
    for one in tried:
        agreement = sum(one.judged.same) / sum(one.judged.tokens)
        rows.append(
            Candidate(
                name=one.rung.value,
                rung=one.rung.value,
                agreement=agreement,
                size_bytes=one.bytes_,
                passed=one.passed,
                message=one.words[:1024],
            )
        )
    return rows


def _headline(source: artifacts.LanguageArtifact, shown: Tried) -> Headline:
    increase = shown.judged.increase(0.95)
    return Headline(
        float_=f"perplexity {shown.judged.float_perplexity:.3f}",
        quantized=f"perplexity {shown.judged.perplexity:.3f}",
        drop=f"{increase[0]:+.2%} ({increase[1]:+.2%} to {increase[2]:+.2%})",
        size=f"{candidate.bytes_of(source.folder) / shown.bytes_:.1f}x",
    )


def _report(job: Job, source: artifacts.LanguageArtifact, tried: list[Tried], outcome: Outcome) -> dict[str, str]:
    rows = [row.wire() for row in _rows(source, tried)]
    whole: dict[str, Any] = {
        "job": job.reference.wire(),
        "source": {"uri": job.model_uri, "digest": source.digest},
        "outcome": outcome.value,
        "gates": job.spec.gates.wire(),
        "candidates": rows,
        "documents": {one.rung.value: asdict(one.judged) for one in tried},
    }
    names = ("name", "message", "sizeBytes", "passed")
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row.get(name, '')))}</td>" for name in names) + "</tr>" for row in rows
    )
    head = "".join(f"<th>{name}</th>" for name in names)
    title = html.escape(f"{job.reference.name}: {outcome.value}")
    table = f"<table><tr>{head}</tr>{cells}</table>"
    page = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{table}"
    return {REPORT_JSON: json.dumps(whole, indent=1, sort_keys=True) + "\n", REPORT_HTML: page}


def _written(
    job: Job,
    work: Work,
    source: artifacts.LanguageArtifact,
    passed: Tried | None,
    documents: Sequence[torch.Tensor],
    report: dict[str, str],
) -> str:
    """Write the artifact, the candidate's files or the float model's. Returns its digest."""
    at = source.folder if passed is None else work.folder / "language" / passed.rung.value
    model = Layerwise(at)
    language = source.language
    if language is None:
        raise BadInput(f"{job.model_uri}: no sizes are known of this model")
    parameters = sum(one.numel() for one in model._frame[0].parameters())
    settings = _kept(at, passed, parameters)
    prompts = scoring.beginnings(
        [one[0].tolist() for one in documents[:64]], TextTokenizer(source.folder), language.context_length
    )
    lineage = Lineage(
        job=job.reference,
        sources=[LineageSource(uri=job.model_uri, digest=source.digest)],
        recipe={"candidate": "float" if passed is None else passed.rung.value, "gates": job.spec.gates.wire()},
        framework={"python": platform.python_version(), "torch": torch.__version__},
    )
    said = artifacts.Draft(
        ArtifactKind.CAUSAL_LM,
        lineage,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        parameters,
        _metrics(passed),
        language=language.model_copy(update={"quantization": settings}),
    )
    with artifacts.publishing(job.spec.output.uri, job.writer, said) as folder:
        candidate.copy(at, folder)
        for name, text in report.items():
            (folder / name).write_text(text)
        scoring.measured(Layerwise(folder), prompts).write(folder)
    return said.digest


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
