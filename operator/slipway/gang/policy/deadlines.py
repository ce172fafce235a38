"""Deadlines of a job, for running and for starting: seconds left, negative when over, None without a limit."""

from datetime import datetime

from slipway.api.common.types import RunPolicy
from slipway.reconcile.run_state import RunState

# A refusal (a quota, a role, a name in use) is tried again after half the time that it has lasted, within these bounds.
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0


def active_seconds_left(policy: RunPolicy, run: RunState, now: datetime) -> float | None:
    """Running time left over all attempts; time spent pending, restarting, suspended or with too few nodes is not
    counted.
    """
    if policy.active_deadline_seconds is None or run.running_since is None:
        return None
    return policy.active_deadline_seconds - run.active_seconds - (now - run.running_since).total_seconds()


def startup_seconds_left(policy: RunPolicy, run: RunState, now: datetime) -> float | None:
    """Time left until all pods of this attempt must be running, from when they were first waited or asked for."""
    moments = (run.queued_time, run.refused_time, run.attempt_time)
    asked = min((moment for moment in moments if moment is not None), default=None)
    if policy.startup_deadline_seconds is None or asked is None or run.running_time is not None:
        return None
    return policy.startup_deadline_seconds - (now - asked).total_seconds()


def retry_refused_in(run: RunState, now: datetime) -> float:
    """Seconds until the server is asked again for what it refused."""
    lasted = (now - run.refused_time).total_seconds() if run.refused_time else 0.0
    return min(LAST_RETRY_SECONDS, max(FIRST_RETRY_SECONDS, lasted / 2))
