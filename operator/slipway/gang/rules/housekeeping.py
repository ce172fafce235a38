"""Housekeeping for the rules of the life cycle: clean up behind earlier attempts, mind the deadlines. Pure."""

from slipway.gang.policy import deadlines
from slipway.gang.state import GangState
from slipway.reconcile.plan import soonest
from slipway.reconcile.pods import cleanup


def earlier_attempts(state: GangState) -> cleanup.Cleanup:
    """Delete pods that are not the gang's any more."""
    run = state.draft.run
    old = [pod for pod in state.pods if pod.attempt < run.attempt] + state.dropped
    return cleanup.replaced(old, run.failed_pod, state.grace, state.now)


def next_deadline(state: GangState) -> float | None:
    """Seconds until the nearest of the job's limits is reached."""
    policy, run = state.gang.run_policy, state.draft.run
    return soonest(
        deadlines.active_seconds_left(policy, run, state.now),
        deadlines.startup_seconds_left(policy, run, state.now),
        state.hang_seconds_left,
        state.stranded_seconds_left,
    )
