"""Content of a run's report: what its job, its training and its artifact say. Called by publish.py."""

from typing import Any

import torch

from slipway.api.common.artifact import Artifact
from workloads.data import changes
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.results.examples import examples
from workloads.train.results.html_report import Content, page
from workloads.train.telemetry.compression_figures import Row, in_words
from workloads.train.tracking import scalars


def report_of(
    job: Job, training: Training, description: Artifact, rows: list[Row], weights: dict[str, torch.Tensor]
) -> str:
    """The page. Without matplotlib, or where it fails, words in its place: no model is lost for its report."""
    content = _content(job, training, description, rows, weights)
    try:
        return page(content)
    except Exception as error:  # matplotlib may be missing, or find no folder for its cache
        training.report.say(f"warning: the report has no charts: {type(error).__name__}: {error}")
        return page(content, charts=False)


def _data(training: Training) -> dict[str, Any]:
    data = training.data
    return {
        "data set": data.reference.name,
        "from": data.reference.uri,
        "digest": f"{data.reference.digest} ({data.reference.covers})",
        "training samples": len(data.training),
        "held-out samples": len(data.held_out),
        **{f"taken ({number})": words for number, words in enumerate(data.taken, start=1)},
        "changed at random": changes(data.augmentation),
    }


def _content(
    job: Job, training: Training, description: Artifact, rows: list[Row], weights: dict[str, torch.Tensor]
) -> Content:
    about = description.lineage
    facts = {
        "model": description.architecture.name,
        "parameters": description.parameters,
        "strategy": f"{training.strategy.name}, processes: {training.world.size}",
        "device": training.world.device.type,
        "precision": str(job.recipe.precision),
        "steps": training.step,
        "published weights": f"of step {about.published_step}",
        "FLOPs of a sample, forward and backward": training.meter.work.flops or "not known",
        **in_words(rows),
    }
    reference = job.reference
    lineage = {
        "job": reference.name,
        "namespace": reference.namespace,
        "uid": reference.uid,
        "digest of the artifact": "sha256sum artifact.json",
        "seed": about.seed,
        **about.framework,
    }
    lives = [f"resumed from step {about.resumed_from_step}"] if about.resumed_from_step is not None else []
    lives += [f"from step {one['fromStep']} on with another recipe" for one in training.recipes[1:]]
    return Content(
        title=f"Training of {reference.name}",
        created=description.created,
        summary=f"{description.architecture.name} on {training.data.reference.name}, {training.step} steps",
        facts=facts,
        metrics=description.metrics,
        data=_data(training),
        history=training.history,
        curve=training.meter.curve,
        recipe=list(scalars.flattened(job.recipe.wire())),
        lineage=lineage,
        lives=lives,
        samples=examples(training, weights),
    )
