"""Suspend and resume: which patch, and for which kinds. Pure; `slipway suspend` and `resume` send it."""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]
# Labels and annotations by which Argo CD and Flux know what they keep as it is in git.
OWNERS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}


class NotSuspendableError(Exception):
    """Kind that has no such state; the text says what to do instead."""


def patch(obj: Object, *, suspend: bool) -> dict[str, Any] | None:
    """Merge patch for the resource, or None where it is so already. Raises NotSuspendableError."""
    name = obj["metadata"]["name"]
    if obj["kind"] == "InferenceService":
        count = 0 if suspend else 1
        raise NotSuspendableError(f"a service is not suspended: kubectl scale infsvc/{name} --replicas={count}")
    policy = (obj.get("spec") or {}).get("runPolicy")
    if policy is None and not obj["kind"].endswith("Job"):
        raise NotSuspendableError(f"{obj['kind']} {name} runs nothing: suspend the jobs that use it")
    return None if bool((policy or {}).get("suspend")) is suspend else {"spec": {"runPolicy": {"suspend": suspend}}}


def finished(obj: Object) -> bool:
    """Tell whether the job has ended: suspending it changes nothing."""
    return bool((obj.get("status") or {}).get("completionTime"))


def keeper(obj: Object) -> str:
    """Name of the program that may set the field back to what git says; empty without one."""
    metadata = obj["metadata"]
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return next((program for mark, program in OWNERS.items() if mark in marks), "")
