"""Pause before a gang starts again: none the first time, then twice as long each time. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from slipway.api.common.types import Backoff
from slipway.reconcile.run_state import RunState
from slipway.runtime.conditions import format_time, parse_time

# A quota or a policy refused the pods: the pause before the next try doubles from the first to the longest.
FIRST_REFUSAL_SECONDS = 5
LONGEST_REFUSAL_SECONDS = 60


def after_failure(
    policy: Backoff, told: Mapping[str, Any], run: RunState, now: datetime, *, disrupted: bool = False
) -> dict[str, Any]:
    """status.backoff once the attempt of `run` has failed; `told` is what it was before.

    A disruption neither lengthens the row nor waits, once all pods have run: a drain of many nodes must not keep a
    sound job from the others. Where they never ran, a node or a queue may send them away again at once.
    """
    ran = (now - run.running_time).total_seconds() if run.running_time is not None else 0.0
    before = 0 if ran >= policy.reset_after_seconds else told.get("restarts") or 0
    if disrupted and run.running_time is not None:
        return {"restarts": before}
    # 2 ** 16 s is longer than the longest pause that can be asked for.
    pause = min(policy.max_seconds, policy.seconds * 2 ** min(before - 1, 16)) if before else 0
    wire: dict[str, Any] = {"restarts": before + 1}
    return wire | ({"nextAttemptTime": format_time(now + timedelta(seconds=pause))} if pause else {})


def after_refusal(told: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """status.backoff once the server has refused to let the attempt's pods be created; `told` is what it was before."""
    before = told.get("refusals") or 0
    pause = min(LONGEST_REFUSAL_SECONDS, FIRST_REFUSAL_SECONDS * 2 ** min(before, 16))
    return {**told, "refusals": before + 1, "nextAttemptTime": format_time(now + timedelta(seconds=pause))}


def seconds_left(policy: Backoff, told: Mapping[str, Any], now: datetime) -> float:
    """Seconds left of the pause; 0 without one, and never more than the longest, should a clock have been set back."""
    until = told.get("nextAttemptTime")
    longest = LONGEST_REFUSAL_SECONDS if told.get("refusals") else policy.max_seconds
    return min(max(0.0, (parse_time(until) - now).total_seconds()), longest) if until else 0.0
