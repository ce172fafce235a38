"""Numbers of pods for a revision's share of the traffic: one Service spreads evenly over ready pods. Pure."""

import math


def split(replicas: int, percent: int) -> tuple[int, int]:
    """Pods of (the serving revision, the canary) for the canary's share in percent, 1 to 99; at least one of each.

    Up to half, the serving revision keeps all its replicas and the canary's come on top: nothing that serves is taken
    away before the canary has shown what it can. Beyond, the canary has all the replicas, and the other shrinks.
    """
    replicas = max(1, replicas)
    if percent <= 50:
        return replicas, max(1, round(replicas * percent / (100 - percent)))
    return max(1, round(replicas * (100 - percent) / percent)), replicas


def beside(replicas: int, percent: int) -> tuple[int, int]:
    """Pods of (the serving revision, the canary) where a gateway gives the share: as many as can take it, and all that
    serve stay until the end.
    """
    return max(1, replicas), max(1, math.ceil(replicas * percent / 100))


def percent_of(canary: int, stable: int) -> int:
    """Share of the canary in percent that so many pods give."""
    return round(100 * canary / (canary + stable)) if canary + stable else 0
