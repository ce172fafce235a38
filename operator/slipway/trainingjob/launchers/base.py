"""Interface of launchers: a Protocol, the place of a pod that they render for, and answers that most of them share."""

from dataclasses import dataclass
from typing import Protocol

from slipway.trainingjob.job import TrainingJob


@dataclass(frozen=True)
class Place:
    """One pod: `index` of its node, and the gang's attempt."""

    index: int
    attempt: int


class Launcher(Protocol):
    """Way to start a gang. Pure: the same job and place give the same answers."""

    def problems(self, job: TrainingJob) -> list[str]:
        """Problems of the spec for this launcher, in words that say what to change."""

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """The container's command that starts `program` in each process of the node."""

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """The variables of the node, in a stable order."""

    def files(self, job: TrainingJob) -> dict[str, str]:
        """Files that it needs beside job.json in the job's ConfigMap, by name."""

    def keyed(self, job: TrainingJob) -> bool:
        """Tell whether the pods run each other's commands, and so need a key of their own."""


class Simple:
    """Base of launchers that need neither files nor a key."""

    def files(self, job: TrainingJob) -> dict[str, str]:
        """No files."""
        return {}

    def keyed(self, job: TrainingJob) -> bool:
        """Tell that the pods need no key."""
        return False


def meeting_point(job: TrainingJob) -> str:
    """Node 0's stable DNS name; a lone node needs no name service."""
    return job.master_address if job.spec.num_nodes > 1 or job.spec.elastic_policy else "127.0.0.1"
