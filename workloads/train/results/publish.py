"""Results of a run: the artifact with its lineage and pages, and the pod's termination message. Called by run.py."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import safetensors
import torch

from slipway.api.common.artifact import Artifact, Lineage
from workloads import artifact, strict_json
from workloads.language import scoring
from workloads.language.text_tokenizer import TextTokenizer
from workloads.pod.termination import write_message
from workloads.train.fine_tuning import causal_lm
from workloads.train.fine_tuning import publish as fine_tuned
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.results.report import report_of
from workloads.train.results.tracked import described
from workloads.train.tasks import Figures
from workloads.train.tasks.supervised import Supervised
from workloads.train.telemetry.compression_figures import Row, ended
from workloads.train.tracking import tensorboard

REPORT, CURVE, TRACE, COMPRESSION = "report.html", "curve.jsonl", "trace.json", "compression.json"
SKIPPED, MOST_NAMED = "skipped.json", 10_000


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training. `step` and `figures` are those of `weights`, which need not be the last ones."""

    weights: dict[str, torch.Tensor]
    figures: Figures
    step: int
    resumed: int | None
    skipped: list[str]


def publish(job: Job, training: Training, outcome: Outcome) -> dict[str, str]:
    """Write the artifact where the job wants it, and the termination message. By the first process alone.

    Returns tags for trackers: what was made of the run.
    """
    trained, figures, resumed, skipped = outcome.weights, outcome.figures, outcome.resumed, outcome.skipped
    description = describe(lineage(job, training, resumed, outcome.step), training, figures)
    uri, digest, language = None, None, None
    if job.spec.output is None:
        training.report.say("the job has no output.uri: the model is not kept")
    else:
        uri = job.spec.output.uri
        rows = ended(training.compression, training.strategy.model, trained, figures)
        more: dict[str, str | bytes] = {
            **training.task.describe().files,
            **_pages(job, training, description, rows, trained),
        }
        more |= tensorboard.files(described(job, training), training.history, training.meter.curve)
        if skipped:
            more[SKIPPED] = strict_json.document({"count": len(skipped), "samples": skipped[:MOST_NAMED]})
        if isinstance(training.task, Supervised):
            model = tuned(job, training, trained, figures, description.lineage, more)
            said = fine_tuned.publish(model, uri, job.writer, job.spec.output.merge)
            digest, language = said.digest, said.facts.wire() if said.facts is not None else None
        else:
            _, digest = artifact.write(uri, job.writer, description, trained, training.history, more)
        training.report.say(f"artifact {uri} {digest}")
    write_message(uri, digest, figures.metrics, training.step, resumed, language)
    made = {"slipway.artifact": uri, "slipway.artifact.digest": digest, "slipway.step": str(outcome.step)}
    return {name: value for name, value in made.items() if value is not None}


def tuned(
    job: Job,
    training: Training,
    trained: Mapping[str, torch.Tensor],
    figures: Figures,
    about: Lineage,
    files: Mapping[str, str | bytes],
) -> fine_tuned.Trained:
    """A fine-tuned language model as it is published, with prompts of held-out texts."""
    assert isinstance(training.task, Supervised)  # noqa: S101 (both callers have looked)
    base, data = causal_lm.base_of(job.recipe), training.task.data
    room = base.language.context_length if base.language is not None else 0
    prompts = scoring.beginnings(data.prompts, TextTokenizer(base.folder), room)
    before = next((row["loss"] for row in training.history if row["step"] == 0), None)
    metrics = figures.metrics if before is None else {**figures.metrics, "lossBefore": before}
    template = job.recipe.dataset.chat_template
    return fine_tuned.Trained(job.recipe, base, trained, prompts, about, metrics, training.history, files, template)


def describe(about: Lineage, training: Training, figures: Figures) -> Artifact:
    """Content of artifact.json for a model with these figures; its files are added when it is written."""
    said = training.task.describe()
    return Artifact(
        task=said.task,
        architecture=training.architecture,
        signature=said.signature,
        preprocessing=said.preprocessing,
        text=said.text,
        labels=said.labels,
        metrics=figures.metrics,
        parameters=training.parameters,
        lineage=about,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        files=[],
    )


def lineage(job: Job, training: Training, resumed: int | None, step: int) -> Lineage:
    """Lineage of a model whose weights are those of this step: its job, data, recipe and libraries."""
    return Lineage(
        job=job.reference,
        dataset=training.data.reference,
        recipe=job.recipe.wire(),
        seed=job.recipe.seed,
        steps=training.step,
        published_step=step,
        recipes=training.recipes if len(training.recipes) > 1 else [],
        resumed_from_step=resumed,
        processes=training.world.size,
        framework={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "safetensors": safetensors.__version__,
        },
    )


def _pages(
    job: Job, training: Training, description: Artifact, rows: list[Row], weights: dict[str, torch.Tensor]
) -> dict[str, str]:
    """Files of the artifact for people: the report, the curve, what compression did, and the profiler's trace."""
    curve = "".join(strict_json.line({"step": step, "trainingLoss": loss}) for step, loss in training.meter.curve)
    found = {REPORT: report_of(job, training, description, rows, weights), CURVE: curve}
    if rows:
        found[COMPRESSION] = strict_json.document(rows)
    return found if training.tracing.trace is None else {**found, TRACE: training.tracing.trace}
