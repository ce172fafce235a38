"""How long may the job still run, how long still take to start? Seconds left, negative when over, None: no limit."""

from datetime import datetime

from slipway.api.common import RunPolicy
from slipway.job.run import Run


def active_seconds_left(policy: RunPolicy, run: Run, now: datetime) -> float | None:
    """Running time left over all attempts; time spent pending, restarting or suspended is not counted."""
    if policy.active_deadline_seconds is None or run.running_time is None:
        return None
    return policy.active_deadline_seconds - run.active_seconds - (now - run.running_time).total_seconds()


def startup_seconds_left(policy: RunPolicy, run: Run, now: datetime) -> float | None:
    """Time left until all pods of this attempt must be running."""
    if policy.startup_deadline_seconds is None or run.attempt_time is None or run.running_time is not None:
        return None
    return policy.startup_deadline_seconds - (now - run.attempt_time).total_seconds()
