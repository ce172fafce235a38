"""Choice after a lost pod: restart the whole gang, or give up. It is written to status before any pod is touched."""

from collections.abc import Mapping
from types import MappingProxyType

from slipway.api.common.types import FailurePolicy, Reason, RuleAction
from slipway.gang.policy import backoff, budget
from slipway.gang.policy.failure import matching_action
from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.status import StatusDraft, describe

NONE: Mapping[int, Reason] = MappingProxyType({})


def restart_or_fail(
    policy: FailurePolicy, failure: Failure, draft: StatusDraft, final: Mapping[int, Reason] = NONE
) -> StatusDraft:
    """Draft the next attempt, or the end of the job when a rule, a `final` exit code or the budget says so.

    final: the reason for each code after which running again cannot help.
    """
    action = matching_action(policy.rules, failure)
    draft.record_failure(failure)
    if action is None and failure.own and failure.exit_code is not None and failure.exit_code in final:
        words = f"{describe(failure)}, which a restart would not change: {failure.message}"
        return draft.fail(final[failure.exit_code], words)
    if action is RuleAction.FAIL_JOB:
        return draft.fail(Reason.FAILURE_RULE, f"a failure rule ends the job: {describe(failure)}")
    if over := budget.exceeded(policy, failure, draft):
        return draft.fail(over[0], f"{describe(failure)}; {over[1]}")
    disrupted = budget.count(policy, failure, draft)
    told = backoff.after_failure(
        policy.backoff, draft.fields.get("backoff") or {}, draft.run, draft.now, disrupted=bool(disrupted)
    )
    draft.fields["backoff"] = told
    draft.next_attempt()
    message = f"restarting all pods after {describe(failure)}{disrupted}"
    if "nextAttemptTime" in told:
        message += f"; restart {told['restarts']} in a row: the next attempt begins at {told['nextAttemptTime']}"
    draft.condition("Restarting", "True", Reason.RESTARTING, message).condition(
        "Running", "False", Reason.RESTARTING, message
    )
    return draft.progressing(Reason.RESTARTING, message)
