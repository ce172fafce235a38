"""Output and checkpoints of a program of the user's own: folders by mount and environment, the artifact by a payload.

A recipe's trainer does all of it itself.
"""

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from slipway.api.exit_codes import ExitCode
from slipway.reconcile.podspec import CLAIMS_DIR, CONFIG_DIR
from slipway.trainingjob import payload
from slipway.trainingjob.job import TrainingJob

# What payload/publish.py ends with where the program left no artifact: running it again would leave the same.
UNFIT_CODE = ExitCode.UNFIT


def keeps(job: TrainingJob) -> bool:
    """Tell whether the program is the user's and what it leaves is to be kept."""
    spec = job.spec
    return spec.recipe is None and (spec.output is not None or spec.checkpoint is not None)


def command(job: TrainingJob, index: int, started: list[str]) -> list[str]:
    """Command of `started` by the payload that makes the folders, and of node 0 the artifact."""
    if not keeps(job):
        return started
    target = str(folder(job.spec.output.uri)) if job.spec.output is not None else "-"
    return ["python3", f"{CONFIG_DIR}/{payload.PUBLISH}", target, str(index), *started]


def env(job: TrainingJob, attempt: int) -> dict[str, str]:
    """Variables for the program: where it writes, and how often and how many checkpoints are wanted."""
    spec, found = job.spec, {}
    if not keeps(job):
        return {}
    if spec.output is not None:
        target = folder(spec.output.uri)
        # Beside the target, so that a rename makes it whole; of this attempt, since the one before may still be going.
        found["SLIPWAY_OUTPUT_DIR"] = str(target.with_name(f".{target.name}.{job.uid}-a{attempt}.partial"))
    if spec.checkpoint is not None:
        found["SLIPWAY_CHECKPOINT_DIR"] = str(folder(spec.checkpoint.uri))
        found["SLIPWAY_CHECKPOINT_EVERY_STEPS"] = str(spec.checkpoint.every_steps)
        found["SLIPWAY_CHECKPOINT_KEEP_LAST"] = str(spec.checkpoint.keep_last)
    return found


def files(job: TrainingJob) -> dict[str, str]:
    """Files of the payload, and of what it reads ONNX files by."""
    names = (payload.PUBLISH, payload.ONNX_SIGNATURE) if keeps(job) else ()
    return {name: payload.read(name) for name in names}


def folder(uri: str) -> PurePosixPath:
    """Path of a pvc:// or file:// URI in the container."""
    parts = urlsplit(uri)
    path = unquote(parts.path).strip("/")
    return PurePosixPath(CLAIMS_DIR, parts.netloc, path) if parts.scheme == "pvc" else PurePosixPath("/", path)
