"""Rules of the life cycle for gangs without a place: in the line, in a pause, back from pods without a node. Pure.

Nothing of it counts as a restart: the gang has not failed.
"""

from slipway.api.common.types import Reason
from slipway.gang import status
from slipway.gang.policy import backoff
from slipway.gang.rules.housekeeping import earlier_attempts, next_deadline
from slipway.gang.state import GangState
from slipway.reconcile.plan import Notice, Plan, soonest

# A gang that waits is woken as soon as there is room for it; its place in the line is looked up so often besides.
QUEUE_LOOK_SECONDS = 60.0


def preempted(state: GangState) -> Plan | None:
    """Rule for a gang that gives way to one of higher priority: its pods get time to save, and it waits once more."""
    if not state.gives_way or state.draft.run.attempt_time is None:
        return None
    message = f"{state.gives_way} of higher priority takes its place; the pods get their grace period to save"
    draft = state.draft.next_attempt()
    draft.condition("Running", "False", Reason.PREEMPTED, message).progressing(Reason.PREEMPTED, message)
    old = earlier_attempts(state)
    notice = Notice("Warning", Reason.PREEMPTED, message)
    return Plan(status=draft.done(), persist_first=True, deletes=old.deletes, notices=(notice,))


def stranded(state: GangState) -> Plan | None:
    """Rule for pods that hold their nodes for nothing: others of the gang have not found one in time."""
    left = state.stranded_seconds_left
    if left is None or left > 0:
        return None
    draft = state.draft
    message = f"not all pods had a node after {state.rules.schedule_timeout} s{status.why_not_running(state)}"
    message += "; all go back to the line"
    draft.fields["backoff"] = backoff.after_refusal(draft.fields.get("backoff") or {}, draft.now)
    status.back_to_the_line(draft)
    draft.condition("Running", "False", Reason.UNSCHEDULABLE, message).progressing(Reason.UNSCHEDULABLE, message)
    old = earlier_attempts(state)
    notice = Notice("Warning", Reason.UNSCHEDULABLE, message)
    return Plan(status=draft.done(), persist_first=True, deletes=old.deletes, notices=(notice,))


def pausing(state: GangState) -> Plan | None:
    """Rule for a pause after failures in a row or a refusal: the pods may not be made yet."""
    if not state.pause:
        return None
    old = earlier_attempts(state)
    again = soonest(state.pause, old.wait, next_deadline(state))
    return Plan(status=state.draft.done(), deletes=old.deletes, requeue_after=again)


def queued(state: GangState) -> Plan | None:
    """Rule for a gang that the cluster has no room for. What exists of it already was let in before."""
    if state.hold is None or state.draft.run.attempt_time is not None or state.current:
        return None
    notices = status.queued(state.draft, state.hold)
    old = earlier_attempts(state)
    again = soonest(old.wait, next_deadline(state), QUEUE_LOOK_SECONDS)
    return Plan(status=state.draft.done(), deletes=old.deletes, notices=notices, requeue_after=again)
