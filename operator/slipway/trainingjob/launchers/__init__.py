"""Launchers, which start the processes of a node, one file each. They are pure: job in, command and environment out.

Others add theirs by an entry point in the group `slipway.launchers`, whose name is the launcher's (DOMAIN/NAME) and
whose object has the methods of `Launcher`.
"""

from importlib.metadata import entry_points

from slipway.api.training.launchers import LauncherName
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers.base import Launcher, Place
from slipway.trainingjob.launchers.deepspeed import Deepspeed
from slipway.trainingjob.launchers.horovodrun import Horovodrun
from slipway.trainingjob.launchers.mpirun import Mpirun
from slipway.trainingjob.launchers.plain import Plain
from slipway.trainingjob.launchers.ray import Ray
from slipway.trainingjob.launchers.torchrun import Torchrun

__all__ = ["GROUP", "Launcher", "Place", "launcher_of", "problems"]

GROUP = "slipway.launchers"

_BUILT_IN: dict[str, Launcher] = {
    LauncherName.TORCHRUN.value: Torchrun(),
    LauncherName.DEEPSPEED.value: Deepspeed(),
    LauncherName.HOROVODRUN.value: Horovodrun(),
    LauncherName.MPIRUN.value: Mpirun(),
    LauncherName.PLAIN.value: Plain(),
    LauncherName.RAY.value: Ray(),
}
_found: dict[str, Launcher] = {}


def launcher_of(job: TrainingJob) -> Launcher:
    """The launcher that the spec names. Raises LookupError when nobody has brought it."""
    name = job.spec.launcher
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if name not in _found:
        entry = next(iter(entry_points(group=GROUP, name=name)), None)
        if entry is None:
            raise LookupError(f"spec.launcher: no package of this operator's image brings {name}")
        made = entry.load()
        _found[name] = made() if isinstance(made, type) else made
    return _found[name]


def problems(job: TrainingJob) -> list[str]:
    """Problems of the spec for its launcher, in words that say what to change."""
    try:
        return launcher_of(job).problems(job)
    except LookupError as missing:
        return [str(missing)]
