"""Match of a failure with the user's rules: the first that fits decides; none means a restart within the budget."""

from collections.abc import Sequence

from slipway.api.common.types import ExitCodeOperator, FailureRule, OnExitCodes, RuleAction
from slipway.reconcile.pods.observed import Failure


def matching_action(rules: Sequence[FailureRule], failure: Failure) -> RuleAction | None:
    """The action of the first rule whose criteria all hold; None when no rule does, which is a restart."""
    return next((rule.action for rule in rules if _matches(rule, failure)), None)


def _matches(rule: FailureRule, failure: Failure) -> bool:
    return (
        (rule.on_exit_codes is None or _exit_code_matches(rule.on_exit_codes, failure))
        and (rule.on_reasons is None or failure.reason in rule.on_reasons)
        and (rule.on_pod_conditions is None or any(kind in rule.on_pod_conditions for kind in failure.pod_conditions))
    )


def _exit_code_matches(criterion: OnExitCodes, failure: Failure) -> bool:
    if failure.exit_code is None or not failure.own:
        return False
    return (failure.exit_code in criterion.values) == (criterion.operator is ExitCodeOperator.IN)
