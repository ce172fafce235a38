"""How far is the TensorRT engine of a revision, and does the revision wait for it? Read from its Job. Pure.

Asked by scene.py and plan.py. While the engine is built a fallback engine serves, unless an older revision serves
anyway: then the new one waits, so that it is never compared, or seen by clients, at a speed that is not its own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from slipway.api.common import Reason
from slipway.api.servicestatus import BuiltEngine
from slipway.inferenceservice.observed import Trouble, revision_of, trouble_of
from slipway.job.observed import observe_pod
from slipway.runtime import conditions

Object = Mapping[str, Any]


class BuildPhase(StrEnum):
    """Where a build is."""

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


def job_name(child: str) -> str:
    """Of the Job that builds for the revision whose other children are called `child`."""
    return f"{child}-engine"


def observe_build(name: str, job: Object | None, pods: Iterable[Object], revision: str, now: datetime) -> Build:
    """`job` None: it is still to be made. `pods`: those of the service's build Jobs."""
    own = [pod for pod in pods if revision_of(pod) == revision]
    marks = ((job or {}).get("status") or {}).get("conditions") or []
    if conditions.is_true(marks, "Complete"):
        return Build(name, BuildPhase.BUILT, facts=_facts(name, own, now))
    trouble = trouble_of(own, revision, now)
    failed = conditions.get(marks, "Failed") if conditions.is_true(marks, "Failed") else None
    if failed is not None:
        words = trouble.message if trouble is not None else failed.get("message") or "the Job failed"
        return Build(name, BuildPhase.FAILED, _failure(words, trouble))
    if trouble is not None and trouble.exit_code is not None:
        trouble = _failure(f"{trouble.message}; it is tried again", trouble)
    return Build(name, BuildPhase.BUILDING, trouble)


def _failure(words: str, seen: Trouble | None) -> Trouble:
    message = f"the TensorRT engine could not be built: {words}"
    return Trouble(Reason.ENGINE_BUILD_FAILED, message, seen.pod if seen else "", seen.exit_code if seen else None)


def _facts(name: str, pods: Iterable[Object], now: datetime) -> Mapping[str, Any]:
    for pod in pods:
        text = observe_pod(pod, now).termination_message
        try:
            said = json.loads(text or "{}")
            return BuiltEngine.model_validate({**said["engine"], "job": name}).wire()
        except (ValueError, TypeError, KeyError, ValidationError):
            continue
    return {}


def waits(build: Build, *, only_tensorrt: bool, served: bool) -> bool:
    """Whether the revision's pods are made only later. `served`: an older revision has pods that serve."""
    if build.phase is BuildPhase.BUILDING:
        return only_tensorrt or served
    return build.phase is BuildPhase.FAILED and only_tensorrt
