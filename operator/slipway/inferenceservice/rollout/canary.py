"""A rollout in steps: the newest revision gets a share of the traffic, and is promoted or rolled back. Pure.

The stand is in status.canaryStatuses, written before anything follows from it. A try is known by its revision and by
spec.rollout: one that was rolled back is not made again until one of them changes.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.rollout import Canary
from slipway.api.serving.status import CanaryPhase
from slipway.inferenceservice import status
from slipway.inferenceservice.observed import Revision, Trouble
from slipway.inferenceservice.policy.canary import CanaryState, StepObservation, next_state
from slipway.inferenceservice.policy.gate import Verdict, judge
from slipway.inferenceservice.policy.surge import beside, percent_of, split
from slipway.inferenceservice.policy.traffic import Traffic, Window
from slipway.inferenceservice.state import RolloutPlan, ServiceState
from slipway.inferenceservice.telemetry.traffic_history import CANARY_SECONDS, canary_evidence, window_name
from slipway.runtime.conditions import format_time, shorten


def canary(state: ServiceState) -> RolloutPlan | None:
    """Plan of a rollout in steps.

    None where there is nothing to compare with, or the canary has been promoted: the rollout is one at once.
    """
    plan, stable = state.service.spec.rollout.canary_plan, state.stable
    if plan is None or stable is None or state.size.replicas == 0:
        return None
    known = _known(state)
    if known is None and not stable.ready:
        # Nothing serves: waiting for evidence would only lengthen that.
        return None
    before = CanaryState(CanaryPhase.STARTING, 0)
    if known is not None:
        before = CanaryState(
            CanaryPhase(known["phase"]), known.get("step", 0), known.get("reason", ""), known.get("message", "")
        )
    verdict = _verdict(state, plan, stable) if before.phase is CanaryPhase.ANALYSING else None
    after = next_state(plan, before, _sight(state, plan, stable, before, verdict)) if known is not None else before
    _record(state, plan, stable, after, verdict, known)
    moved = known is None or (after.phase, after.step) != (before.phase, before.step)
    if after.phase is CanaryPhase.PROMOTED:
        return _promoted(state, after, moved=moved) if moved else None
    if after.phase is CanaryPhase.ROLLED_BACK:
        return _rolled_back(state, stable, after, moved=moved)
    return _continue(state, plan, stable, after, moved=moved)


def attempt_of(state: ServiceState) -> str:
    """Hash that names a try: it changes with the revision and with spec.rollout."""
    text = state.newest + json.dumps(state.service.spec.rollout.wire(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _known(state: ServiceState) -> dict[str, Any] | None:
    entries = state.draft.old.get("canaryStatuses") or []
    return next((entry for entry in entries if entry.get("attempt") == attempt_of(state)), None)


def _verdict(state: ServiceState, plan: Canary, stable: Revision) -> Verdict | None:
    window = _window(state)
    if window is None:
        return None
    figures, gate = window.revisions, plan.gate
    step = plan.steps[min((_known(state) or {}).get("step", 0), len(plan.steps) - 1)]
    if not step.mirror:
        gate = gate.model_copy(update={"max_logprob_drift": None})  # without copies nobody scores anything
    return judge(gate, figures.get(stable.revision, Traffic()), figures.get(state.newest, Traffic()))


def _window(state: ServiceState) -> Window | None:
    """Window of what was counted in this step; None before the first figures."""
    window = state.observed.window
    return window if window is not None and window.name == window_name(state.draft.old) else None


def _sight(
    state: ServiceState, plan: Canary, stable: Revision, stand: CanaryState, verdict: Verdict | None
) -> StepObservation:
    keep, share = _sizes(state, plan, stand)
    current = state.current
    in_place = current is not None and current.serves(share) and stable.serves(keep)
    window = _window(state)
    watched = state.draft.now.timestamp() - window.began if window is not None else 0.0
    return StepObservation(in_place, watched, verdict, _broken(state, stand), state.observed.unread)


def _broken(state: ServiceState, stand: CanaryState) -> str:
    """Reason for a rollback that needs no figures; empty for none.

    Its pods end once they serve, or never come to serve. A first crash at start may be the node's fault.
    """
    trouble = state.trouble
    late = state.hopeless
    if trouble is not None and (late or (stand.phase is CanaryPhase.ANALYSING and trouble.exit_code is not None)):
        return f"pod {trouble.pod}: {trouble.message}" if trouble.pod else trouble.message
    return late


def _sizes(state: ServiceState, plan: Canary, stand: CanaryState) -> tuple[int, int]:
    step = plan.steps[min(stand.step, len(plan.steps) - 1)]
    return (beside if state.routed or step.mirror else split)(state.size.replicas, step.traffic_percent)


def _record(
    state: ServiceState,
    plan: Canary,
    stable: Revision,
    stand: CanaryState,
    verdict: Verdict | None,
    known: dict[str, Any] | None,
) -> None:
    keep, share = _sizes(state, plan, stand)
    step = plan.steps[min(stand.step, len(plan.steps) - 1)]
    entry: dict[str, Any] = {
        "name": state.newest,
        "attempt": attempt_of(state),
        "stable": stable.revision,
        "phase": str(stand.phase),
        "step": stand.step,
        "trafficPercent": step.traffic_percent,
        "actualPercent": 0 if step.mirror else step.traffic_percent if state.routed else percent_of(share, keep),
        "mirror": step.mirror,
        "since": format_time(state.draft.now),
        "reason": str(stand.reason),
        "message": shorten(stand.message),
    }
    if known is not None and (known["phase"], known.get("step", 0)) == (entry["phase"], entry["step"]):
        entry["since"] = known["since"]
        evidence = _evidence(state, plan, stable, known)
        if stand.phase is CanaryPhase.ANALYSING and evidence is not None:
            entry["evidence"] = evidence
    if verdict is not None:
        entry["gate"] = dict(verdict.figures)
    elif known is not None and "gate" in known:
        entry["gate"] = known["gate"]
    state.draft.fields["canaryStatuses"] = [entry]


def _evidence(state: ServiceState, plan: Canary, stable: Revision, known: dict[str, Any]) -> Mapping[str, Any] | None:
    """Evidence of this step alone: another one begins with nothing."""
    written, window = known.get("evidence"), _window(state)
    if window is None:
        return written
    compared, outputs = (stable.revision, state.newest), plan.gate.max_output_drift is not None
    return canary_evidence(window, compared, written, state.draft.now, outputs=outputs)


def _continue(state: ServiceState, plan: Canary, stable: Revision, stand: CanaryState, *, moved: bool) -> RolloutPlan:
    wanted, current = state.size.replicas, state.current
    keep, share = _sizes(state, plan, stand)
    if current is None or not current.serves(share):
        # Never take away what serves before the canary does.
        keep = max(keep, wanted)
    trouble = state.trouble
    notices = status.canary_on(state, stable, stand, trouble)
    useless = [revision for revision in state.older if revision is not stable]
    again = CANARY_SECONDS if stand.phase is CanaryPhase.ANALYSING else None
    return RolloutPlan({state.newest: share, stable.revision: keep}, useless, notices, moved, again)


def _promoted(state: ServiceState, stand: CanaryState, *, moved: bool) -> RolloutPlan:
    """Plan of a promotion, which changes no pods yet.

    It is only the decision: once it is written, the newest revision is the one that rolls out.
    """
    notices = status.canary_promoted(state, stand)
    replicas = {revision.revision: revision.wanted for revision in state.revisions if not revision.deleting}
    return RolloutPlan(replicas, (), notices, moved)


def _rolled_back(state: ServiceState, stable: Revision, stand: CanaryState, *, moved: bool) -> RolloutPlan:
    wanted = state.size.replicas
    others = [revision for revision in state.older if revision is not stable]
    replicas = {stable.revision: wanted}
    if state.current is not None:
        # Where the serving revision was shrunk for it, it goes only when that is whole again.
        if stable.serves(wanted) or stand.reason == Reason.MODEL_LOAD_FAILED:
            others.append(state.current)
        else:
            replicas[state.newest] = state.current.wanted
    failure = Trouble(stand.reason, stand.message, "")
    return RolloutPlan(replicas, others, status.canary_rolled_back(state, stable, failure), moved)
