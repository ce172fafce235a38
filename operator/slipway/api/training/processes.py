"""Number of processes per node: as given, or the accelerators asked for, else the whole CPUs of the limit."""

import math

from slipway.api.common.quantity import parse_quantity
from slipway.api.common.resources import accelerators as found
from slipway.api.common.resources import unknown
from slipway.api.training.launchers import LauncherName
from slipway.api.training.trainingjob import TrainingJobSpec


def accelerators(spec: TrainingJobSpec) -> int:
    """Accelerators per node, whatever their maker. A limit counts before a request of the same name."""
    return sum(found(spec.trainer.resources_per_node.asked).values())


def unknown_to_trainer(spec: TrainingJobSpec) -> list[str]:
    """Accelerators asked for that are neither CUDA's nor ROCm's, for which the trainer's images are built."""
    return unknown(spec.trainer.resources_per_node.asked)


def processes_per_node(spec: TrainingJobSpec) -> int:
    """`auto` as a number: 2500m CPUs make 3 processes, 700m one, no limit at all one."""
    if spec.num_proc_per_node != "auto":
        return int(spec.num_proc_per_node)
    if devices := accelerators(spec):
        return devices
    cpus = spec.trainer.resources_per_node.asked.get("cpu")
    return max(1, math.ceil(parse_quantity(cpus))) if cpus is not None else 1


def world_size(spec: TrainingJobSpec) -> int:
    """All processes of the job; the plain launcher starts one on each node, whatever the node has."""
    return spec.num_nodes * (1 if spec.launcher == LauncherName.PLAIN else processes_per_node(spec))


def batch_problems(spec: TrainingJobSpec, each: int) -> list[str]:
    """Check that each process gets a whole number of samples in each accumulation step.

    `each` is the number of processes per node; every number of nodes that the job may have is checked. Processes that
    hold one model between them count as one. Returns the first problem in words, as a list of one, or an empty list.
    """
    if spec.recipe is None:
        return []
    elastic, steps, together = spec.elastic_policy, spec.recipe.gradient_accumulation_steps, spec.recipe.together
    sizes = range(elastic.min_nodes, elastic.max_nodes + 1) if elastic else (spec.num_nodes,)
    apart = next((nodes * each for nodes in sizes if nodes * each % together), None)
    if apart is not None:
        return [
            f"spec.recipe: {apart} processes do not divide into groups of {together} that hold one model each "
            "(tensorParallel, pipelineParallel)"
        ]
    models = (nodes * each // together for nodes in sizes)
    wrong = next((count for count in models if spec.recipe.global_batch_size % (count * steps)), None)
    if wrong is None:
        return []
    held = f", {together} of which hold a model" if together > 1 else ""
    return [
        f"spec.recipe.globalBatchSize: {spec.recipe.global_batch_size} does not divide by {wrong * together} processes"
        f"{held} x {steps} accumulation steps; use a multiple of {wrong * steps}"
    ]
