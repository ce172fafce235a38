"""Model of a TrainingJob as its training would begin with it, without a training. For `bench untrained`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from slipway.api.common.artifact import Signature
from slipway.api.common.types import API_VERSION
from slipway.api.search import paths
from workloads import data, strict_json
from workloads.errors import BadInput
from workloads.pod import job_document
from workloads.train import tasks
from workloads.train.initial_model import whole
from workloads.train.job import KIND, Overrides, read_job
from workloads.train.setup import architecture_of, dataset_of


def untrained(config: Path, values: dict[str, paths.Value]) -> tuple[nn.Module, Signature]:
    """The model with its initial values, and its signature. BadInput for what cannot be trained as it is asked for.

    `values`: by their paths in the spec, in place of what the document says.
    """
    reference, spec = job_document.reference_and_spec(config, KIND)
    try:
        document = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": reference.name},
            "spec": paths.put_all(spec, values),
        }
    except ValueError as error:
        raise BadInput(str(error)) from error
    with TemporaryDirectory() as folder:
        changed = Path(folder) / "job.json"
        changed.write_text(strict_json.line(document))
        job = read_job(changed, Overrides())
    if job.recipe.compression:
        raise BadInput("recipe.compression changes the model while it is trained: it cannot be measured before")
    dataset = data.open_set(dataset_of(job.recipe), job.recipe.task)
    task = tasks.for_data(dataset, job.recipe, torch.device("cpu"))
    made = whole(job, architecture_of(job, dataset), task, False)
    return made.model.eval(), task.describe().signature
