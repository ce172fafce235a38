"""Rules of the life cycle for gangs without a place: in the line, in a pause, back from pods without a node. Pure.

Nothing of it counts as a restart: the gang has not failed.
"""

from slipway.api.common.types import Reason
from slipway.gang import status as words
from slipway.gang.policy import backoff
from slipway.gang.rules.housekeeping import earlier_attempts, next_deadline
from slipway.gang.state import Scene
from slipway.reconcile.plan import Notice, Plan, soonest

# A gang that waits is woken as soon as there is room for it; its place in the line is looked up so often besides.
QUEUE_LOOK_SECONDS = 60.0


def preempted(scene: Scene) -> Plan | None:
    """Rule for a gang that gives way to one of higher priority: its pods get time to save, and it waits once more."""
    if not scene.gives_way or scene.draft.run.attempt_time is None:
        return None
    message = f"{scene.gives_way} of higher priority takes its place; the pods get their grace period to save"
    draft = scene.draft.next_attempt()
    draft.condition("Running", "False", Reason.PREEMPTED, message).progressing(Reason.PREEMPTED, message)
    old = earlier_attempts(scene)
    notice = Notice("Warning", Reason.PREEMPTED, message)
    return Plan(status=draft.done(), persist_first=True, deletes=old.deletes, notices=(notice,))


def stranded(scene: Scene) -> Plan | None:
    """Rule for pods that hold their nodes for nothing: others of the gang have not found one in time."""
    left = scene.stranded_seconds_left
    if left is None or left > 0:
        return None
    draft = scene.draft
    message = f"not all pods had a node after {scene.rules.schedule_timeout} s{words.why_not_running(scene)}"
    message += "; all go back to the line"
    draft.wire["backoff"] = backoff.after_refusal(draft.wire.get("backoff") or {}, draft.now)
    words.back_to_the_line(draft)
    draft.condition("Running", "False", Reason.UNSCHEDULABLE, message).progressing(Reason.UNSCHEDULABLE, message)
    old = earlier_attempts(scene)
    notice = Notice("Warning", Reason.UNSCHEDULABLE, message)
    return Plan(status=draft.done(), persist_first=True, deletes=old.deletes, notices=(notice,))


def pausing(scene: Scene) -> Plan | None:
    """Rule for a pause after failures in a row or a refusal: the pods may not be made yet."""
    if not scene.pause:
        return None
    old = earlier_attempts(scene)
    again = soonest(scene.pause, old.wait, next_deadline(scene))
    return Plan(status=scene.draft.done(), deletes=old.deletes, requeue_after=again)


def queued(scene: Scene) -> Plan | None:
    """Rule for a gang that the cluster has no room for. What exists of it already was let in before."""
    if scene.hold is None or scene.draft.run.attempt_time is not None or scene.current:
        return None
    notices = words.queued(scene.draft, scene.hold)
    old = earlier_attempts(scene)
    again = soonest(old.wait, next_deadline(scene), QUEUE_LOOK_SECONDS)
    return Plan(status=scene.draft.done(), deletes=old.deletes, notices=notices, requeue_after=again)
