"""What starts the processes of a node, one file each. A launcher is pure: job in, command and environment out."""

from typing import Protocol

from slipway.api.trainingjob import LauncherName
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers.plain import Plain
from slipway.trainingjob.launchers.torchrun import Torchrun


class Launcher(Protocol):
    """How a gang is started."""

    def problems(self, job: TrainingJob) -> list[str]:
        """What this launcher cannot do of the spec, in words that say what to change."""

    def command(self, job: TrainingJob, program: list[str]) -> list[str]:
        """The container's command that starts `program` in each process of a node."""

    def env(self, job: TrainingJob, index: int) -> dict[str, str]:
        """The variables of node `index`, in a stable order."""


_LAUNCHERS: dict[LauncherName, Launcher] = {LauncherName.TORCHRUN: Torchrun(), LauncherName.PLAIN: Plain()}


def launcher_of(job: TrainingJob) -> Launcher:
    """The launcher that the spec names."""
    return _LAUNCHERS[job.spec.launcher]
