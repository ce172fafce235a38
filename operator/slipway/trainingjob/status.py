"""What is a TrainingJob's own in its status: the artifact, and what the scale subresource reads. Pure."""

from collections.abc import Sequence

import orjson

from slipway.api.jobstatus import ArtifactStatus
from slipway.job import gangstatus, labels
from slipway.job.observed import PodState
from slipway.job.scene import Scene
from slipway.job.status import Draft

SOFT_FIELDS = gangstatus.SOFT_FIELDS | {"nodes"}


def scale(scene: Scene, *, creating: bool) -> None:
    """For `kubectl scale` and autoscalers: how many pods there are once the plan is carried out, and which."""
    wire = scene.draft.wire
    if "replicaStatuses" not in wire:
        wire.pop("nodes", None)
        return
    wire["selector"] = f"{labels.JOB_UID}={scene.gang.uid}"
    wire["nodes"] = scene.size if creating else len(scene.current)


def artifact(pods: Sequence[PodState], draft: Draft) -> None:
    """Node 0's last words name the artifact; anything else in them is no business of the status."""
    text = next((pod.termination_message for pod in pods if pod.index == 0), "")
    try:
        found = ArtifactStatus.model_validate(orjson.loads(text or "{}")["artifact"])
    except (ValueError, KeyError, TypeError):
        return
    draft.wire["artifact"] = found.wire()
