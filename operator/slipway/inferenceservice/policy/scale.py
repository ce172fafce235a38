"""Number of replicas that the load needs: the rule of the HorizontalPodAutoscaler, on figures of our own. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.api.serving.autoscaling import AutoScaling

# A load so near the target changes nothing.
TOLERANCE = 0.1
# One look may at most double the pods, or add so many: a burst is not worth a hundred pods.
STEP = 4


@dataclass(frozen=True)
class Load:
    """The metric of each pod that could be asked, and how many ready pods could not.

    `inside`: requests that came in the last interval, and rows that are in the pods now.
    """

    pods: Sequence[float]
    unknown: int = 0
    inside: float = 0.0


@dataclass(frozen=True)
class Recommendation:
    """Number of replicas that one look asked for; `at` in seconds by any clock."""

    at: float
    replicas: int


def clamp(scaling: AutoScaling, replicas: int) -> int:
    """Limit a number of replicas to the bounds of autoScaling."""
    return max(scaling.min_replicas, min(scaling.max_replicas, replicas))


def wanted(scaling: AutoScaling, current: int, load: Load) -> int:
    """Replicas for this load alone. Who cannot be asked is idle for growing, and at the target for shrinking."""
    if not load.pods or current < 1:
        return clamp(scaling, current)
    target, total = scaling.scale_target, sum(load.pods)
    careful = total + load.unknown * target
    if total > current * target * (1 + TOLERANCE):
        return clamp(scaling, min(math.ceil(total / target), max(2 * current, current + STEP)))
    if careful < current * target * (1 - TOLERANCE):
        return clamp(scaling, min(current, math.ceil(careful / target)))
    return clamp(scaling, current)


def settle(
    scaling: AutoScaling, current: int, asked: int, history: Sequence[Recommendation], now: float
) -> tuple[int, tuple[Recommendation, ...]]:
    """Replicas from now on, and the history to keep: up at once, down to the most that was asked for within the window.

    An empty history is a new beginning (also of the operator): what there is was asked for now. Nothing at all is left
    when nothing was asked for as long as the last pod is kept.
    """
    window = scaling.scale_down_stabilization_seconds
    retention = scaling.retention_seconds if scaling.to_zero else 0
    known = [*(history or [Recommendation(now, current)]), Recommendation(now, asked)]
    kept = tuple(entry for entry in known if now - entry.at <= max(window, retention))
    if asked >= current:
        return asked, kept
    # The window must have passed: until then the beginning is in it, and counts.
    if asked == 0 and not any(entry.replicas for entry in kept if now - entry.at <= retention):
        return 0, kept
    most = max(entry.replicas for entry in kept if now - entry.at <= window)
    return clamp(scaling, min(current, max(1, most))), kept
