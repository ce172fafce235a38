"""Trackers of a run, by its job. Begun by run.py once the run knows at which step it begins."""

from workloads import storage
from workloads.train.job import Job
from workloads.train.loop import Training
from workloads.train.tracking.tracker import Run, Tracker, Trackers, warn


def begin(job: Job, training: Training, resumed: int | None) -> Trackers:
    """The trackers that the job asks for; none in processes that are not the first, or where they cannot begin."""
    if not training.world.first:
        return Trackers()
    run, found = described(job, training), list[Tracker]()
    folder = storage.local_path(job.spec.checkpoint.uri) if job.spec.checkpoint is not None else None
    if folder is not None:
        try:
            from workloads.train.tracking.tensorboard import Events

            found.append(Events(folder / job.folder, run, resumed))
        except (ImportError, OSError) as error:
            warn(f"no event files beside the checkpoints: {error}")
    if job.spec.tracking is not None and job.spec.tracking.mlflow is not None:
        from workloads.train.tracking.mlflow import MlflowRun

        mlflow = Trackers([MlflowRun(job.spec.tracking.mlflow, run)])
        # What it has already is left out; of a server that was away in the life before it is all there is.
        for step, loss in training.meter.curve:
            mlflow.point(step, loss)
        for row in training.history:
            mlflow.evaluation(row)
        found += mlflow.every
    return Trackers(found)


def described(job: Job, training: Training) -> Run:
    """Name, settings and lineage of the job's run."""
    data, reference = training.data.reference, job.reference
    tags = {
        "slipway.job": reference.name,
        "slipway.namespace": reference.namespace or "",
        "slipway.model": training.architecture.name,
        "slipway.parameters": str(training.parameters),
        "slipway.dataset": data.name,
        "slipway.dataset.digest": data.digest,
        "slipway.strategy": training.strategy.name,
        "slipway.processes": str(training.world.size),
    }
    return Run(reference.name, reference.uid, job.recipe.wire(), {name: value for name, value in tags.items() if value})
