"""Budgets for restarts: the program's failures have one, and disruptions another. Pure.

What the user's own rule says goes before both: Restart counts whatever it was, RestartIgnoreMaxRestarts nothing.
"""

from slipway.api.common.types import FailurePolicy, Reason, RuleAction
from slipway.gang.policy.failure import matching_action
from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.status import StatusDraft


def exceeded(policy: FailurePolicy, failure: Failure, draft: StatusDraft) -> tuple[Reason, str] | None:
    """Reason against a further restart, and the end of a sentence; None if there may be one."""
    failures, disruptions = _counts(policy, failure)
    if failures and draft.run.restarts_towards_max >= policy.max_restarts:
        return Reason.MAX_RESTARTS_EXCEEDED, f"the budget of {policy.max_restarts} restarts is used up"
    if disruptions and draft.run.disruptions >= policy.max_disruptions:
        words = f"the budget of {policy.max_disruptions} disruptions (failurePolicy.maxDisruptions) is used up"
        return Reason.MAX_DISRUPTIONS_EXCEEDED, words
    return None


def count(policy: FailurePolicy, failure: Failure, draft: StatusDraft) -> str:
    """Count one restart; returns the end of a sentence that tells of a disruption, else ""."""
    failures, disruptions = _counts(policy, failure)
    run = draft.run
    draft.fields["restartCount"] = run.restarts + 1
    draft.fields["restartCountTowardsMax"] = run.restarts_towards_max + failures
    if not disruptions:
        return ""
    draft.fields["disruptionCount"] = run.disruptions + 1
    return f", disruption {run.disruptions + 1} of at most {policy.max_disruptions}, not counted against maxRestarts"


def recount(policy: FailurePolicy, cause: Failure, draft: StatusDraft) -> None:
    """Correct the counts for a failure that turns out to have come of a disruption, which was heard of late."""
    failures, disruptions = _counts(policy, cause)
    run = draft.run
    if run.finished or failures or not cause.disruption or not run.restarts_towards_max:
        return
    draft.fields["restartCountTowardsMax"] = run.restarts_towards_max - 1
    if disruptions:
        draft.fields["disruptionCount"] = run.disruptions + 1


def _counts(policy: FailurePolicy, failure: Failure) -> tuple[int, int]:
    """Numbers that one restart adds to the failures and to the disruptions."""
    action = matching_action(policy.rules, failure)
    if action is RuleAction.RESTART_IGNORE_MAX_RESTARTS:
        return 0, 0
    disrupted = action is None and failure.disruption
    return int(not disrupted), int(disrupted)
