"""What the gang's pods mean for the job's status: counts, conditions, progress, artifact. Pure; called by plan.py."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from slipway.api.common import Reason
from slipway.api.jobstatus import ArtifactStatus
from slipway.job import labels
from slipway.job.observed import Obstacle, PodState
from slipway.job.plan import Notice
from slipway.job.status import Draft
from slipway.runtime.conditions import format_time
from slipway.trainingjob.job import TrainingJob

# Fields that may lag behind by a few seconds, so that a gang of hundreds costs a handful of writes.
SOFT_FIELDS = frozenset({"replicaStatuses", "progress", "nodes"})


def count(job: TrainingJob, pods: Sequence[PodState], draft: Draft) -> None:
    """The pods of the current attempt by state, for people and for the scale subresource."""
    draft.wire["nodes"] = len(pods)
    draft.wire["selector"] = f"{labels.JOB_UID}={job.uid}"
    draft.wire["replicaStatuses"] = {
        "desired": job.spec.num_nodes,
        "active": sum(not pod.ended for pod in pods),
        "ready": sum(pod.ready for pod in pods),
        "succeeded": sum(pod.phase == "Succeeded" for pod in pods),
        "failed": sum(pod.phase == "Failed" for pod in pods),
    }


def created(draft: Draft) -> None:
    """All pods of the attempt have been asked for: one that is missing from now on was lost."""
    moment = format_time(draft.now)
    draft.wire.setdefault("startTime", moment)
    draft.wire["attemptTime"] = moment
    draft.condition("Created", "True", Reason.PODS_CREATED, "all pods have been created")
    if draft.run.suspended:
        draft.condition("Suspended", "False", Reason.RESUMED, "the job was resumed")
    draft.progressing(Reason.PODS_PENDING, "waiting for the pods to run")
    draft.condition("Running", "False", Reason.PODS_PENDING, "waiting for the pods to run")


def running(draft: Draft) -> list[Notice]:
    """All pods run; told once per attempt."""
    told = draft.run.running_time is not None
    draft.wire.setdefault("runningTime", format_time(draft.now))
    message = "all pods are running"
    draft.condition("Running", "True", Reason.ALL_PODS_RUNNING, message).progressing(Reason.ALL_PODS_RUNNING, message)
    if draft.run.restarts:
        draft.condition("Restarting", "False", Reason.RESTARTED, f"running again, attempt {draft.run.attempt}")
    return [] if told else [Notice("Normal", Reason.ALL_PODS_RUNNING, message)]


def waiting(draft: Draft, obstacle: Obstacle | None) -> list[Notice]:
    """Not all pods run yet; an obstacle is shown with the server's own words, and told once."""
    if obstacle is None:
        reason, message = Reason.STARTING, "the pods are starting"
    else:
        reason, message = obstacle.reason, f"pod {obstacle.pod}: {obstacle.message}"
    before: Mapping[str, Any] = next((c for c in draft.old.get("conditions") or [] if c["type"] == "Running"), {})
    draft.condition("Running", "False", reason, message).progressing(reason, message)
    known = before.get("reason") == reason or obstacle is None
    return [] if known else [Notice("Warning", reason, message)]


def artifact(pods: Sequence[PodState], draft: Draft) -> None:
    """Node 0's last words name the artifact; anything else in them is no business of the status."""
    text = next((pod.termination_message for pod in pods if pod.index == 0), "")
    try:
        words = json.loads(text or "{}")
        found = ArtifactStatus.model_validate(words["artifact"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return
    draft.wire["artifact"] = found.wire()


def complete_progress(draft: Draft) -> None:
    """A job that has succeeded is not at 97 % because its last report got lost."""
    progress: dict[str, Any] = draft.wire.get("progress") or {}
    if progress:
        draft.wire["progress"] = {**progress, "percent": 100, "estimatedRemainingSeconds": 0}
