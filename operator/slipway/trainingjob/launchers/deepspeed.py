"""DeepSpeed: configured from typed fields; started by torchrun, or by `deepspeed` and pdsh on request."""

import json
from typing import Any

from slipway.api.training.deepspeed import render
from slipway.api.training.launchers import DeepSpeed, ZeroLauncher
from slipway.api.training.memory import StrategyName
from slipway.api.training.processes import batch_problems, processes_per_node, world_size
from slipway.reconcile.podspec import CONFIG_DIR
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers import hosts
from slipway.trainingjob.launchers.base import Place
from slipway.trainingjob.launchers.torchrun import agent, agent_files, static_env

CONFIG = "ds_config.json"


class Deepspeed:
    """torchrun with `--no-python PROGRAM`, or `deepspeed --no_python PROGRAM` with a host file."""

    def problems(self, job: TrainingJob) -> list[str]:
        """Batch sizes and strategies that contradict each other, and settings that the recipe sets already."""
        indivisible = batch_problems(job.spec, processes_per_node(job.spec))
        return indivisible or [*_two_strategies(job), *_contradictions(job)]

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """Command of a node: torchrun on each one; or deepspeed on node 0, when pdsh is asked for."""
        if _settings(job).launcher is ZeroLauncher.TORCHRUN:
            return agent(job, program)
        found = ["--hostfile", f"{CONFIG_DIR}/{hosts.HOSTFILE}", "--launcher", "pdsh", "--force_multi"]
        sizes = ["--num_nodes", str(job.spec.num_nodes), "--num_gpus", str(processes_per_node(job.spec))]
        master = ["--master_addr", hosts.names(job)[0], "--master_port", str(job.master_port)]
        return hosts.led(place, ["deepspeed", *found, *sizes, *master, "--no_python", "--no_local_rank", *program])

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """Variables of the node: the configuration's path, and torchrun's or the agent's."""
        found = {"SLIPWAY_DEEPSPEED_CONFIG": f"{CONFIG_DIR}/{CONFIG}"}
        ranks = static_env(job, place) if _settings(job).launcher is ZeroLauncher.TORCHRUN else hosts.env(job)
        return ranks | found

    def files(self, job: TrainingJob) -> dict[str, str]:
        """The configuration; for pdsh the host file, too."""
        config = {CONFIG: json.dumps(ds_config(job), indent=1, sort_keys=True)}
        if _settings(job).launcher is ZeroLauncher.TORCHRUN:
            return config | agent_files(job)
        return {**config, hosts.HOSTFILE: hosts.hostfile(job, " slots="), **hosts.files(job)}

    def keyed(self, job: TrainingJob) -> bool:
        """Tell whether the pods need a key: only with pdsh."""
        return _settings(job).launcher is ZeroLauncher.PDSH


def ds_config(job: TrainingJob) -> dict[str, Any]:
    """The configuration as DeepSpeed reads it."""
    micro, accumulation = _batch(job)
    strategy = job.strategy.name if job.strategy else None
    return {
        "train_batch_size": micro * accumulation * world_size(job.spec),
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulation,
        **render(_settings(job), job.spec.recipe, strategy),
    }


def _settings(job: TrainingJob) -> DeepSpeed:
    return job.spec.deepspeed or DeepSpeed()


def _batch(job: TrainingJob) -> tuple[int, int]:
    settings, recipe, world = _settings(job), job.spec.recipe, world_size(job.spec)
    if recipe is not None:
        steps = recipe.gradient_accumulation_steps
        return recipe.global_batch_size // (world * steps), steps
    steps = settings.gradient_accumulation_steps or 1
    whole = settings.train_batch_size
    follows = whole // (world * steps) if whole is not None else 1
    return settings.train_micro_batch_size_per_gpu or max(1, follows), steps


def _two_strategies(job: TrainingJob) -> list[str]:
    """Problems: the status says which strategy trains the job, so no other one may."""
    strategy, named = job.strategy, _settings(job).zero_stage
    if strategy is None:
        return []
    if strategy.name is StrategyName.FSDP2:
        return ["spec.strategy: FSDP2 is torch's own way, not DeepSpeed's: set launcher to torchrun"]
    if named not in (None, strategy.stage):
        return [
            f"spec.deepspeed.zeroStage: {named}, but strategy {strategy.name} is stage {strategy.stage}: remove one"
        ]
    return []


def _contradictions(job: TrainingJob) -> list[str]:
    settings, world = _settings(job), world_size(job.spec)
    micro, steps = _batch(job)
    product = micro * steps * world
    found = [
        f"spec.deepspeed.{field}: {said}, but the recipe makes it {follows}: remove it"
        for field, said, follows in (
            ("trainMicroBatchSizePerGpu", settings.train_micro_batch_size_per_gpu, micro),
            ("gradientAccumulationSteps", settings.gradient_accumulation_steps, steps),
        )
        if said is not None and said != follows
    ]
    if settings.train_batch_size is not None and settings.train_batch_size != product:
        found.append(
            f"spec.deepspeed.trainBatchSize: {settings.train_batch_size} is not micro batch {micro} x accumulation "
            f"{steps} x {world} processes = {product}: correct one of them"
        )
    return found
