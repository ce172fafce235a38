"""A job's spec over that of the runtime that it names. Pure; called by plan.py, queueing and `slipway plan`.

The runtime is copied into the job's status before anything is created: whoever edits it later changes no job that is
there. A field of the job that is at its default says nothing, since the API server fills defaults in: there the
runtime's holds, and where that says nothing either, the default.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from slipway.api.common.base import problems_of
from slipway.api.training import runtime as api
from slipway.api.training.runtime import NodeVolume
from slipway.api.training.runtime_ref import RuntimeKind, RuntimeRef, RuntimeStatus
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.runtime.client.resource import Object

# Lists whose items have names: the job's item takes the place of the runtime's.
NAMES = {
    **dict.fromkeys(("env", "volumes", "imagePullSecrets", "initContainers", "sidecars"), "name"),
    "volumeMounts": "mountPath",
    "topologySpread": "topologyKey",
}
# Terms of an affinity are alternatives: those of two people together would let in what neither meant.
WHOLE = frozenset({"affinity"})
# The first rule that matches decides.
JOB_FIRST = frozenset({"rules"})
RESOURCES = "resourcesPerNode"


@dataclass(frozen=True)
class Settled:
    """A job's spec with its runtime, what of the node comes with it, and what is wrong with the two together."""

    spec: TrainingJobSpec
    node_volumes: tuple[NodeVolume, ...] = ()
    problems: tuple[str, ...] = ()


def read(ref: RuntimeRef, found: Object) -> tuple[dict[str, Any] | None, list[str]]:
    """The copy of a runtime for status.runtime, or None and why it is of no use."""
    what = f"{ref.kind} {ref.name}"
    spec, problems = api.runtime_problems(ref.kind, found.get("spec") or {})
    if spec is None:
        return None, [f"{what}: {problem}" for problem in problems]
    metadata = found["metadata"]
    copied = RuntimeStatus(
        kind=ref.kind.value,
        name=ref.name,
        uid=metadata.get("uid") or "",
        generation=metadata.get("generation") or 0,
        settings=api.said(spec),
    )
    return copied.wire(), []


def find(ref: RuntimeRef, namespace: str, documents: Sequence[Object]) -> Object | None:
    """The runtime that a job of a namespace names, among the documents of a file; None where it is not there."""
    given = [o for o in documents if (o.get("kind"), (o.get("metadata") or {}).get("name")) == (ref.kind, ref.name)]
    if ref.kind is RuntimeKind.TRAINING_RUNTIME:
        given = [o for o in given if o["metadata"].get("namespace", "default") == namespace]
    return given[0] if given else None


def settle(spec: TrainingJobSpec, copied: Mapping[str, Any] | None) -> Settled:
    """The job as it is to be run; without a copy of a runtime, as it is."""
    if spec.runtime_ref is None or not copied:
        return Settled(spec)
    what = f"with {copied.get('kind')} {copied.get('name')}"
    try:
        under = json.loads(copied.get("settings") or "{}")
        volumes = tuple(NodeVolume.model_validate(one) for one in under.pop("nodeVolumes", []))
        merged = json.dumps(over(_said(spec), under))
        settled = TrainingJobSpec.model_validate_json(merged, strict=True)
    except ValidationError as error:
        return Settled(spec, problems=tuple(f"{what}: {problem}" for problem in problems_of(error)))
    except (ValueError, TypeError, AttributeError):
        return Settled(spec, problems=(f"{what}: status.runtime cannot be read: delete the job and create it again",))
    mounted = {mount.mount_path.rstrip("/") for mount in settled.pod.volume_mounts}
    twice = [one.mount_path for one in volumes if one.mount_path.rstrip("/") in mounted]
    problems = tuple(
        f"spec.pod.volumeMounts: {copied.get('kind')} {copied.get('name')} mounts {path} itself: choose another path"
        for path in twice
    )
    return Settled(settled, volumes, problems)


def filled(spec: TrainingJobSpec, copied: Mapping[str, Any]) -> list[str]:
    """Paths of the fields that the runtime fills in, as `trainer.image`, for people who want to know."""
    under = json.loads(copied.get("settings") or "{}")
    merged = over(_said(spec), under)
    return sorted(_told(merged, _said(spec), ""))


def over(job: Mapping[str, Any], under: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Overlay of the job's fields over the runtime's. Maps are merged by key, lists with names by them."""
    if name == RESOURCES:
        named = {resource for amounts in job.values() for resource in amounts}
        under = {what: {r: a for r, a in amounts.items() if r not in named} for what, amounts in under.items()}
    merged = {**under, **job}
    for key in job.keys() & under.keys():
        mine, theirs = job[key], under[key]
        if key in WHOLE:
            continue
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            merged[key] = over(mine, theirs, key)
        elif isinstance(mine, list) and isinstance(theirs, list):
            merged[key] = _joined(mine, theirs, key)
    return merged


def _joined(mine: Sequence[Any], theirs: Sequence[Any], key: str) -> list[Any]:
    if key in NAMES:
        field = NAMES[key]
        named = {item[field]: item for item in mine}
        known = {item[field] for item in theirs}
        kept = [named.get(item[field], item) for item in theirs]
        return [*kept, *(item for item in mine if item[field] not in known)]
    first, then = (mine, theirs) if key in JOB_FIRST else (theirs, mine)
    # Said by both it counts once, at the job's own place.
    return [*first, *then] if first is mine else [*(item for item in first if item not in then), *then]


def _said(spec: TrainingJobSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _told(merged: Any, job: Any, path: str) -> list[str]:
    if isinstance(merged, Mapping) and (isinstance(job, Mapping) or job is None):
        inner = [_told(value, (job or {}).get(key), f"{path}.{key}".lstrip(".")) for key, value in merged.items()]
        return [told for part in inner for told in part]
    return [] if merged == job or merged in ({}, []) else [path]
