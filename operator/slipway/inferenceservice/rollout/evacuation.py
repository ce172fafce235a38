"""One pod more for a service of one replica whose node is drained, and the words for it. Pure; called by plan.py.

The stand is in the cluster alone: an annotation of the Deployment says that one of its replicas is the one more, and
the condition ReplacementReady since when none serves.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slipway.api.common.types import Reason
from slipway.inferenceservice.observed import ready_pods, revision_of, trouble_of
from slipway.inferenceservice.policy.evacuation import NOTHING, Evacuation, Phase, Replica, evacuate
from slipway.inferenceservice.state import ServiceState
from slipway.reconcile.plan import Notice
from slipway.runtime import conditions
from slipway.runtime.conditions import parse_time, shorten

CONDITION = "ReplacementReady"
# Beside what a replica may take to load its model: as much as a Deployment is given.
MARGIN_SECONDS = 60


def decide(state: ServiceState, sizes: Mapping[str, int]) -> Evacuation:
    """Decide whether a revision shall have one pod more; `sizes`: the pods that the rollout wants of each."""
    leaving = state.observed.leaving
    if leaving is None or state.size.replicas != 1 or state.size.sleeping:
        return NOTHING
    surged = [revision.revision for revision in state.revisions if revision.surged]
    patience = state.service.spec.predictor.startup_seconds + MARGIN_SECONDS
    return evacuate(_replicas(state.observed.pods), sizes, leaving, surged, _waited(state), patience)


def tell(state: ServiceState, evacuation: Evacuation) -> tuple[Notice, ...]:
    """Write the condition, or take it away; an event where the stand is another one."""
    draft, phase = state.draft, evacuation.phase
    if phase is None:
        draft.without(CONDITION)
        return ()
    before = conditions.get(draft.old.get("conditions") or [], CONDITION) or {}
    message = _words(state, evacuation, phase)
    reason = _REASONS[phase]
    draft.condition(CONDITION, "True" if phase is Phase.READY else "False", reason, message)
    if before.get("reason") == reason:
        return ()
    return (Notice("Warning" if phase is Phase.OVERDUE else "Normal", reason, message),)


_REASONS = {
    Phase.STARTING: Reason.REPLACEMENT_STARTING,
    Phase.READY: Reason.REPLACEMENT_READY,
    Phase.OVERDUE: Reason.REPLACEMENT_OVERDUE,
}


def _replicas(pods: Iterable[Mapping[str, Any]]) -> Iterator[Replica]:
    there = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    ready = ready_pods(there)
    for pod in there:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            node = (pod.get("spec") or {}).get("nodeName") or ""
            yield Replica(revision_of(pod), node, str(pod["metadata"]["uid"]) in ready)


def _waited(state: ServiceState) -> float:
    """Seconds for which the condition says that no replacement serves."""
    told = conditions.get(state.draft.old.get("conditions") or [], CONDITION) or {}
    if told.get("status") != "False":
        return 0.0
    return (state.draft.now - parse_time(told["lastTransitionTime"])).total_seconds()


def _words(state: ServiceState, evacuation: Evacuation, phase: Phase) -> str:
    where = f"{'node' if len(evacuation.nodes) == 1 else 'nodes'} {', '.join(evacuation.nodes)}"
    if phase is Phase.READY:
        return f"{where} may be drained: a replacement serves beside the pod that is there"
    why = _obstacle(state, evacuation.revision)
    if phase is Phase.STARTING:
        return shorten(f"{where} takes no new pods: a replacement is starting, and evictions wait for it{why}")
    return shorten(
        f"no replacement serves, so that evictions from {where} wait no longer, and the service may be away until"
        f" its pod has started elsewhere{why}"
    )


def _obstacle(state: ServiceState, revision: str) -> str:
    """Obstacle to the replacement: the pod's own words, or those by which the server refused it."""
    trouble = trouble_of(state.observed.pods, revision, state.draft.now)
    if trouble is not None:
        return f"; pod {trouble.pod}: {trouble.message}"
    for deployment in state.observed.deployments:
        for told in (deployment.get("status") or {}).get("conditions") or []:
            if revision_of(deployment) == revision and (told.get("type"), told.get("status")) == _REFUSED:
                return f"; {told.get('message') or 'the server refused its pod'}"
    return ""


_REFUSED = ("ReplicaFailure", "True")
