"""What every launcher is: a Protocol, the place of a pod that it renders for, and answers that most of them share."""

from dataclasses import dataclass
from typing import Protocol

from slipway.trainingjob.job import TrainingJob


@dataclass(frozen=True)
class Place:
    """One pod: `index` of its node, and the gang's attempt."""

    index: int
    attempt: int


class Launcher(Protocol):
    """How a gang is started. Pure: the same job and place give the same answers."""

    def problems(self, job: TrainingJob) -> list[str]:
        """What this launcher cannot do of the spec, in words that say what to change."""

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """The container's command that starts `program` in each process of the node."""

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """The variables of the node, in a stable order."""

    def files(self, job: TrainingJob) -> dict[str, str]:
        """What it needs beside job.json in the job's ConfigMap, by name."""

    def keyed(self, job: TrainingJob) -> bool:
        """Whether the pods run each other's commands, and so need a key of their own."""


class Simple:
    """No files, no key."""

    def files(self, job: TrainingJob) -> dict[str, str]:
        """None."""
        return {}

    def keyed(self, job: TrainingJob) -> bool:
        """No."""
        return False


def meeting_point(job: TrainingJob) -> str:
    """Node 0's stable DNS name; a lone node needs no name service."""
    return job.master_address if job.spec.num_nodes > 1 or job.spec.elastic_policy else "127.0.0.1"
