"""Pods that a person means by a pod's name, a node's index or a rank. Pure; `slipway logs` asks."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from slipway.api.training.launchers import LauncherName
from slipway.api.training.processes import processes_per_node
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.cli.cluster import NotThereError, attempt, index

Object = Mapping[str, Any]


def chosen(
    obj: Object, pods: Sequence[Object], *, pod: str = "", node: int | None = None, rank: int | None = None, every: bool
) -> list[Object]:
    """Pods to read from: of the newest attempt, but for a pod named. Raises NotThereError.

    pods: newest attempt first. A rank is one of a process, counted over all nodes as torchrun does.
    """
    name = obj["metadata"]["name"]
    if not pods:
        raise NotThereError(f"{name} has no pods")
    names = [found["metadata"]["name"] for found in pods]
    if pod:
        if pod not in names:
            raise NotThereError(f"{name} has no pod {pod}, only {', '.join(names)}")
        return [pods[names.index(pod)]]
    newest = [found for found in pods if attempt(found) == attempt(pods[0])]
    if every:
        return newest
    wanted = node if rank is None else rank // processes_of(obj)
    if wanted is None:
        return newest[:1]
    there = {index(found): found for found in newest}
    if wanted not in there:
        what = f"node {wanted}" if rank is None else f"rank {rank}, which is on node {wanted}"
        raise NotThereError(f"{name} has no {what}; there are nodes {', '.join(map(str, sorted(there)))}")
    return [there[wanted]]


def processes_of(obj: Object) -> int:
    """Processes on each node of a job; 1 where the resource is no TrainingJob."""
    try:
        spec = TrainingJobSpec.model_validate(obj.get("spec") or {}) if obj["kind"] == "TrainingJob" else None
    except ValidationError:
        return 1
    return 1 if spec is None or spec.launcher in {LauncherName.PLAIN, LauncherName.RAY} else processes_per_node(spec)
