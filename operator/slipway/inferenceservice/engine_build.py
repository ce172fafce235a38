"""State of a revision's TensorRT engine, and whether the revision waits for it. Read from its Job. Pure.

Asked by state.py and plan.py. While the engine is built a fallback engine serves, unless an older revision serves
anyway: then the new one waits, so that it is never compared, or seen by clients, at a speed that is not its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from slipway.api.common.types import Reason
from slipway.api.serving.status import BuiltEngine
from slipway.inferenceservice.observed import Trouble, revision_of, trouble_of
from slipway.reconcile.plan import Delete
from slipway.reconcile.pods import cleanup
from slipway.reconcile.pods.observed import PodState, observe_pod
from slipway.runtime import conditions

Object = Mapping[str, Any]
# The one in the pods of the Job.
CONTAINER = "build"


class BuildPhase(StrEnum):
    """Phase of an engine's build."""

    BUILDING = "Building"
    BUILT = "Built"
    FAILED = "Failed"


@dataclass(frozen=True)
class Build:
    """One build. `facts`: what its pod said of the engine, as status.engine has it; empty when the pod is gone."""

    job: str
    phase: BuildPhase
    trouble: Trouble | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    # Whether the Job must go for its pods to end, other pods that must, and seconds until one of them may have to.
    over: bool = False
    deletes: tuple[Delete, ...] = ()
    wait: float | None = None


def job_name(child: str) -> str:
    """Name of the Job that builds for the revision whose other children are called `child`."""
    return f"{child}-engine"


def observe_build(
    name: str, job: Object | None, pods: Iterable[Object], revision: str, now: datetime, told: Object | None = None
) -> Build:
    """Read the state of a build. `job` None: it is still to be made, unless it has gone with `told`, which
    status.engine says already. `pods`: those of the service's build Jobs.
    """
    if job is None:
        known = told is not None and told.get("job") == name
        return Build(name, BuildPhase.BUILT, facts=told or {}) if known else Build(name, BuildPhase.BUILDING)
    own = [pod for pod in pods if revision_of(pod) == revision]
    marks = (job.get("status") or {}).get("conditions") or []
    if conditions.is_true(marks, "Complete"):
        return Build(name, BuildPhase.BUILT, facts=_facts(name, own, now))
    seen = [observe_pod(pod, now, CONTAINER) for pod in own]
    # Pods that are to go already are the Job controller's and the kubelet's.
    beside = cleanup.left_over([state for state in seen if not state.deleting], 0, now)
    if _built_beside_others(own, seen, beside):
        return Build(name, BuildPhase.BUILT, facts=_facts(name, own, now), over=True)
    trouble = trouble_of(own, revision, now, CONTAINER)
    failed = conditions.get(marks, "Failed") if conditions.is_true(marks, "Failed") else None
    if failed is not None:
        words = trouble.message if trouble is not None else failed.get("message") or "the Job failed"
        return Build(name, BuildPhase.FAILED, _failure(words, trouble), deletes=beside.deletes)
    if trouble is not None and trouble.exit_code is not None:
        trouble = _failure(f"{trouble.message}; it is tried again", trouble)
    return Build(name, BuildPhase.BUILDING, trouble, deletes=beside.deletes, wait=beside.wait)


def _built_beside_others(pods: Sequence[Object], seen: Sequence[PodState], beside: cleanup.Cleanup) -> bool:
    """Tell whether an engine is there, and the Job does not come to know: what others put beside the build in its pod
    goes on for ever, or has failed, and the Job would build once more.
    """
    doomed = {delete.uid for delete in beside.deletes}
    built = ((pod, state) for pod, state in zip(pods, seen, strict=True) if state.phase == "Succeeded")
    return any(
        state.uid in doomed
        or (state.left_over and state.deleting)
        or (pod.get("status") or {}).get("phase") == "Failed"
        for pod, state in built
    )


def _failure(words: str, seen: Trouble | None) -> Trouble:
    message = f"the TensorRT engine could not be built: {words}"
    return Trouble(Reason.ENGINE_BUILD_FAILED, message, seen.pod if seen else "", seen.exit_code if seen else None)


def _facts(name: str, pods: Iterable[Object], now: datetime) -> Mapping[str, Any]:
    for pod in pods:
        text = observe_pod(pod, now, CONTAINER).termination_message
        try:
            result = json.loads(text or "{}")
            return BuiltEngine.model_validate({**result["engine"], "job": name}).wire()
        except (ValueError, TypeError, KeyError, ValidationError):
            continue
    return {}


def waits(build: Build, *, only_tensorrt: bool, served: bool) -> bool:
    """Tell whether the revision's pods are made only later. `served`: an older revision has pods that serve."""
    if build.phase is BuildPhase.BUILDING:
        return only_tensorrt or served
    return build.phase is BuildPhase.FAILED and only_tensorrt
