"""Configuration of DeepSpeed: the launcher's file, or one from the job, held to the recipe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.api.training.deepspeed import render
from slipway.api.training.launchers import DeepSpeed
from slipway.api.training.memory import StrategyName
from workloads.errors import BadInput
from workloads.train.job import Job

# Set by the operator: the file that it has rendered.
FILE = "SLIPWAY_DEEPSPEED_CONFIG"
Config = dict[str, Any]


def find(job: Job, name: StrategyName, processes: int, environment: Mapping[str, str]) -> Config:
    """The configuration, complete. BadInput for a file that is none or that contradicts the recipe."""
    config = _read(Path(environment[FILE])) if FILE in environment else rendered(job, name)
    _hold_to_recipe(config, job, processes)
    return {
        **config,
        **_batch(job, processes),
        # Ours is torch's own optimizer: DeepSpeed's needs a compiler on every node.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31 - 1,
    }


def _read(path: Path) -> Config:
    try:
        config = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{FILE}={path}: not a DeepSpeed configuration ({error})") from error
    if not isinstance(config, dict):
        raise BadInput(f"{FILE}={path}: not a DeepSpeed configuration")
    return config


def rendered(job: Job, name: StrategyName) -> Config:
    """Configuration by spec.deepspeed, then spec.strategy, as the operator would have rendered it."""
    return render(job.spec.deepspeed or DeepSpeed(), job.recipe, name)


def _batch(job: Job, processes: int) -> Config:
    steps = job.recipe.gradient_accumulation_steps
    return {
        "train_batch_size": job.recipe.global_batch_size,
        "train_micro_batch_size_per_gpu": job.recipe.global_batch_size // (processes * steps),
        "gradient_accumulation_steps": steps,
    }


def _hold_to_recipe(config: Config, job: Job, processes: int) -> None:
    for field, follows in _batch(job, processes).items():
        if config.get(field) not in {None, "auto", follows}:
            raise BadInput(f"DeepSpeed's {field} is {config[field]}, the recipe makes it {follows}: remove it")
    for field in ("optimizer", "scheduler"):
        if field in config:
            raise BadInput(f"DeepSpeed's configuration has {field}, and so has the recipe: remove it")
    asked = rendered(job, StrategyName.DDP)
    clipping = asked.get("gradient_clipping")
    if clipping is not None and config.get("gradient_clipping") != clipping:
        raise BadInput(f"the job clips gradients at {clipping}, DeepSpeed's configuration does not: make them agree")
    for field in ("bf16", "fp16"):
        if field in asked and not config.get(field, {}).get("enabled"):
            raise BadInput(f"the job's precision is {field}, DeepSpeed's configuration does not enable it")
