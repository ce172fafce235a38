"""Status fields of a TrainingJob alone: the artifact, and what the scale subresource reads. Pure."""

from collections.abc import Sequence

import orjson

from slipway.api.common.job_status import ArtifactStatus
from slipway.gang import status
from slipway.gang.state import GangState
from slipway.reconcile import labels
from slipway.reconcile.pods.observed import PodState
from slipway.reconcile.status import StatusDraft

SOFT_FIELDS = status.SOFT_FIELDS | {"nodes"}


def scale(state: GangState, *, creating: bool) -> None:
    """Write number and selector of the pods that there are once the plan is carried out.

    `kubectl scale` and autoscalers read both.
    """
    wire = state.draft.fields
    if "replicaStatuses" not in wire:
        wire.pop("nodes", None)
        return
    wire["selector"] = f"{labels.JOB_UID}={state.gang.uid}"
    wire["nodes"] = state.size if creating else len(state.current)


def artifact(pods: Sequence[PodState], draft: StatusDraft) -> None:
    """Write the artifact that the last words of rank 0's pod name; anything else in them is no business of the status.

    Elastic processes number themselves anew when they meet anew: rank 0 may then be on any node.
    """
    for pod in sorted(pods, key=lambda pod: pod.index):
        found = artifact_of(pod.termination_message)
        if found is not None:
            draft.fields["artifact"] = found.wire()
            return


def artifact_of(words: str) -> ArtifactStatus | None:
    """The artifact that a pod's last words name."""
    try:
        return ArtifactStatus.model_validate(orjson.loads(words or "{}")["artifact"])
    except (ValueError, KeyError, TypeError):
        return None
