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
from slipway.inferenceservice import status as words
from slipway.inferenceservice.observed import Revision, Trouble
from slipway.inferenceservice.policy.canary import Sight, Stand, follow
from slipway.inferenceservice.policy.gate import Verdict, judge
from slipway.inferenceservice.policy.surge import beside, percent_of, split
from slipway.inferenceservice.policy.traffic import Traffic, Window
from slipway.inferenceservice.state import Course, Scene
from slipway.inferenceservice.telemetry.traffic_history import CANARY_SECONDS, canary_evidence, window_name
from slipway.runtime.conditions import format_time, shorten


def canary(scene: Scene) -> Course | None:
    """Course of a rollout in steps.

    None where there is nothing to compare with, or the canary has been promoted: the rollout is one at once.
    """
    plan, stable = scene.service.spec.rollout.canary_plan, scene.stable
    if plan is None or stable is None or scene.size.replicas == 0:
        return None
    known = _known(scene)
    if known is None and not stable.ready:
        # Nothing serves: waiting for evidence would only lengthen that.
        return None
    before = Stand(CanaryPhase.STARTING, 0)
    if known is not None:
        before = Stand(
            CanaryPhase(known["phase"]), known.get("step", 0), known.get("reason", ""), known.get("message", "")
        )
    verdict = _verdict(scene, plan, stable) if before.phase is CanaryPhase.ANALYSING else None
    after = follow(plan, before, _sight(scene, plan, stable, before, verdict)) if known is not None else before
    _record(scene, plan, stable, after, verdict, known)
    moved = known is None or (after.phase, after.step) != (before.phase, before.step)
    if after.phase is CanaryPhase.PROMOTED:
        return _promoted(scene, after, moved=moved) if moved else None
    if after.phase is CanaryPhase.ROLLED_BACK:
        return _rolled_back(scene, stable, after, moved=moved)
    return _going_on(scene, plan, stable, after, moved=moved)


def attempt_of(scene: Scene) -> str:
    """Hash that names a try: it changes with the revision and with spec.rollout."""
    text = scene.newest + json.dumps(scene.service.spec.rollout.wire(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _known(scene: Scene) -> dict[str, Any] | None:
    entries = scene.draft.old.get("canaryStatuses") or []
    return next((entry for entry in entries if entry.get("attempt") == attempt_of(scene)), None)


def _verdict(scene: Scene, plan: Canary, stable: Revision) -> Verdict | None:
    window = _window(scene)
    if window is None:
        return None
    figures = window.revisions
    return judge(plan.gate, figures.get(stable.revision, Traffic()), figures.get(scene.newest, Traffic()))


def _window(scene: Scene) -> Window | None:
    """Window of what was counted in this step; None before the first figures."""
    window = scene.around.window
    return window if window is not None and window.name == window_name(scene.draft.old) else None


def _sight(scene: Scene, plan: Canary, stable: Revision, stand: Stand, verdict: Verdict | None) -> Sight:
    keep, share = _sizes(scene, plan, stand)
    current = scene.current
    in_place = current is not None and current.serves(share) and stable.serves(keep)
    window = _window(scene)
    watched = scene.draft.now.timestamp() - window.began if window is not None else 0.0
    return Sight(in_place, watched, verdict, _broken(scene, stand), scene.around.unread)


def _broken(scene: Scene, stand: Stand) -> str:
    """Reason for a rollback that needs no figures; empty for none.

    Its pods end once they serve, or never come to serve. A first crash at start may be the node's fault.
    """
    trouble = scene.trouble
    late = scene.hopeless
    if trouble is not None and (late or (stand.phase is CanaryPhase.ANALYSING and trouble.exit_code is not None)):
        return f"pod {trouble.pod}: {trouble.message}" if trouble.pod else trouble.message
    return late


def _sizes(scene: Scene, plan: Canary, stand: Stand) -> tuple[int, int]:
    step = plan.steps[min(stand.step, len(plan.steps) - 1)]
    return (beside if scene.routed or step.mirror else split)(scene.size.replicas, step.traffic_percent)


def _record(
    scene: Scene, plan: Canary, stable: Revision, stand: Stand, verdict: Verdict | None, known: dict[str, Any] | None
) -> None:
    keep, share = _sizes(scene, plan, stand)
    step = plan.steps[min(stand.step, len(plan.steps) - 1)]
    entry: dict[str, Any] = {
        "name": scene.newest,
        "attempt": attempt_of(scene),
        "stable": stable.revision,
        "phase": str(stand.phase),
        "step": stand.step,
        "trafficPercent": step.traffic_percent,
        "actualPercent": 0 if step.mirror else step.traffic_percent if scene.routed else percent_of(share, keep),
        "mirror": step.mirror,
        "since": format_time(scene.draft.now),
        "reason": str(stand.reason),
        "message": shorten(stand.message),
    }
    if known is not None and (known["phase"], known.get("step", 0)) == (entry["phase"], entry["step"]):
        entry["since"] = known["since"]
        evidence = _evidence(scene, plan, stable, known)
        if stand.phase is CanaryPhase.ANALYSING and evidence is not None:
            entry["evidence"] = evidence
    if verdict is not None:
        entry["gate"] = dict(verdict.figures)
    elif known is not None and "gate" in known:
        entry["gate"] = known["gate"]
    scene.draft.wire["canaryStatuses"] = [entry]


def _evidence(scene: Scene, plan: Canary, stable: Revision, known: dict[str, Any]) -> Mapping[str, Any] | None:
    """Evidence of this step alone: another one begins with nothing."""
    written, window = known.get("evidence"), _window(scene)
    if window is None:
        return written
    compared, outputs = (stable.revision, scene.newest), plan.gate.max_output_drift is not None
    return canary_evidence(window, compared, written, scene.draft.now, outputs=outputs)


def _going_on(scene: Scene, plan: Canary, stable: Revision, stand: Stand, *, moved: bool) -> Course:
    wanted, current = scene.size.replicas, scene.current
    keep, share = _sizes(scene, plan, stand)
    if current is None or not current.serves(share):
        # Never take away what serves before the canary does.
        keep = max(keep, wanted)
    trouble = scene.trouble
    notices = words.canary_on(scene, stable, stand, trouble)
    useless = [revision for revision in scene.older if revision is not stable]
    again = CANARY_SECONDS if stand.phase is CanaryPhase.ANALYSING else None
    return Course({scene.newest: share, stable.revision: keep}, useless, notices, moved, again)


def _promoted(scene: Scene, stand: Stand, *, moved: bool) -> Course:
    """Course of a promotion, which changes no pods yet.

    It is only the decision: once it is written, the newest revision is the one that rolls out.
    """
    notices = words.canary_promoted(scene, stand)
    replicas = {revision.revision: revision.wanted for revision in scene.revisions if not revision.deleting}
    return Course(replicas, (), notices, moved)


def _rolled_back(scene: Scene, stable: Revision, stand: Stand, *, moved: bool) -> Course:
    wanted = scene.size.replicas
    others = [revision for revision in scene.older if revision is not stable]
    replicas = {stable.revision: wanted}
    if scene.current is not None:
        # Where the serving revision was shrunk for it, it goes only when that is whole again.
        if stable.serves(wanted) or stand.reason == Reason.MODEL_LOAD_FAILED:
            others.append(scene.current)
        else:
            replicas[scene.newest] = scene.current.wanted
    failure = Trouble(stand.reason, stand.message, "")
    return Course(replicas, others, words.canary_rolled_back(scene, stable, failure), moved)
