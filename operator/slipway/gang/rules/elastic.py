"""Rules of the life cycle for jobs whose size may change: replace a lost node, follow an edit. Pure; called by it.

Each decision is persisted before a pod is touched: status.elastic says which nodes the job has and which are still to
be created, so that a crash repeats the action and never the decision.
"""

from dataclasses import replace

from slipway.api.common.types import Reason, RuleAction
from slipway.gang.policy import budget
from slipway.gang.policy.failure import matching_action
from slipway.gang.state import GangState
from slipway.reconcile.plan import Notice, Plan
from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.status import describe


def replaced(state: GangState, failure: Failure) -> Plan | None:
    """Replace one lost node: the others go on, and one of a new number joins. None where the gang must restart."""
    nodes, policy = state.nodes, state.gang.failure_policy
    index = next((i for i in state.indices if state.gang.pod_name(i, state.draft.run.attempt) == failure.pod), 0)
    if nodes is None or not state.rules.replaces or index == 0 or state.changed:
        return None
    action = matching_action(policy.rules, failure)
    final = action is None and failure.own and failure.exit_code in state.gang.final_exit_codes
    if final or action is RuleAction.FAIL_JOB or budget.exceeded(policy, failure, state.draft):
        return None
    draft = state.draft.record_failure(failure)
    disrupted = budget.count(policy, failure, draft)
    draft.fields["elastic"] = nodes.replaced(index).wire()
    message = f"{describe(failure)}{disrupted}; the other nodes go on, and a new one joins them"
    notice = Notice("Warning", Reason.NODE_REPLACED, message)
    return Plan(status=draft.done(), persist_first=True, notices=(notice,))


def resized(state: GangState) -> Plan | None:
    """Follow an edit of numNodes: persist which nodes come and go."""
    nodes = state.nodes
    if nodes is None or state.draft.run.attempt_time is None or len(nodes.indices) == state.gang.size or state.changed:
        return None
    started = [pod.index for pod in state.current if pod.phase != "Pending"]
    after = nodes.resized(state.gang.size, started)
    state.draft.fields["elastic"] = after.wire()
    notice = Notice("Normal", Reason.SCALED, f"from {len(nodes.indices)} to {len(after.indices)} nodes")
    return Plan(status=state.draft.done(), persist_first=True, notices=(notice,))


def joining(state: GangState) -> Plan | None:
    """Create the pods of new nodes."""
    nodes = state.nodes
    if nodes is None or not nodes.creating or state.draft.run.attempt_time is None:
        return None
    there = {pod.index for pod in state.current}
    missing = [index for index in nodes.creating if index not in there]
    writes = state.gang.writes(missing, state.draft.run.attempt, first=False)
    state.draft.fields["elastic"] = replace(nodes, creating=()).wire()
    return Plan(status=state.draft.done(), writes=writes, requeue_after=0.0)
