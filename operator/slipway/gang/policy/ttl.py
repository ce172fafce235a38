"""Time to live of a finished job, in every terminal state, since `completionTime` is set on each of them."""

from datetime import datetime

from slipway.api.common.types import RunPolicy
from slipway.reconcile.run_state import RunState


def seconds_to_live(policy: RunPolicy, run: RunState, now: datetime) -> float | None:
    """Seconds until the job is deleted; zero or less means now, None means never."""
    if policy.ttl_seconds_after_finished is None or run.completion_time is None:
        return None
    return policy.ttl_seconds_after_finished - (now - run.completion_time).total_seconds()
