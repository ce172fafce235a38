"""Choice of the strategy that trains a job: by the launcher, `spec.strategy` and what the launcher has set.

Called by run.py at the start of a run; each strategy is a file of this folder, and imports its library only when asked.
"""

from collections.abc import Mapping

from slipway.api.training.launchers import LauncherName
from slipway.api.training.memory import StrategyName
from slipway.api.training.recipe import Compression, Recipe
from workloads.errors import BadInput
from workloads.pod.environment import Place
from workloads.train.job import Job
from workloads.train.strategies.base import Strategy

# Set by the operator: what `strategy: Auto` came to.
CHOSEN = "SLIPWAY_STRATEGY"
ZERO = (StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3, StrategyName.ZERO3_OFFLOAD)


def named(job: Job, environment: Mapping[str, str]) -> StrategyName:
    """Name of the strategy that was asked for. Auto that nobody has decided (a laptop) is DDP."""
    wanted = StrategyName(environment[CHOSEN]) if CHOSEN in environment else None
    if wanted is None and job.spec.strategy is not None:
        wanted = job.spec.strategy.name
    return StrategyName.DDP if wanted in {None, StrategyName.AUTO} else StrategyName(wanted)


def choose(job: Job, place: Place, environment: Mapping[str, str]) -> Strategy:
    """Choose the strategy of a job.

    Horovod and DeepSpeed under their launchers, ZeRO by DeepSpeed, FSDP2 by name, one model in several processes as the
    recipe says, else DDP or one process alone.

    BadInput when the library that it needs is not installed, or the configuration contradicts the recipe.
    """
    found = _chosen(job, place, environment)
    if job.recipe.gradient_compression is not Compression.NONE and not found.compresses:
        raise BadInput(f"recipe.gradientCompression is for DDP and Horovod, this is {found.name}: remove it")
    return found


def _chosen(job: Job, place: Place, environment: Mapping[str, str]) -> Strategy:
    from workloads.train.strategies import base, ddp

    name = named(job, environment)
    if job.recipe.together > 1:
        return _together(job.recipe)
    if job.spec.launcher == LauncherName.HOROVODRUN or "HOROVOD_SIZE" in environment:
        from workloads.train.strategies.horovod import Horovod

        return Horovod(job.recipe)
    if job.spec.launcher == LauncherName.DEEPSPEED or name in ZERO:
        from workloads.train.strategies.ds_config import find
        from workloads.train.strategies.zero import Zero

        return Zero(job.recipe, find(job, name, place.size, environment))
    if name is StrategyName.FSDP2:
        from workloads.train.strategies.fsdp import FullyShard

        return FullyShard(job.recipe)
    return ddp.DataParallel(job.recipe) if place.size > 1 else base.Single(job.recipe)


def _together(recipe: Recipe) -> Strategy:
    if recipe.tensor_parallel > 1:
        from workloads.train.strategies.tensor_parallel import Tensor

        return Tensor(recipe)
    from workloads.train.strategies.pipeline_parallel import Pipeline

    return Pipeline(recipe)
