"""Early end of trials by what they report: the median rule, and successive halving in brackets. Pure.

Median: Golovin et al. 2017, Google Vizier. Halving as it is done without waiting for all of a rung (ASHA, Li et al.
2020), the brackets as Hyperband (Li et al. 2018) has them: the later a bracket's first rung, the less it stops.
"""

from collections.abc import Sequence
from statistics import median

from slipway.api.search.searchjob import SearchJobSpec
from slipway.api.search.space import AlgorithmName, EarlyStopping, Goal
from slipway.api.search.status import TrialState
from slipway.searchjob.record import Record

# A third goes on at each rung; rungs in percent of a whole training, which is the last one.
ETA = 3
BRACKETS: tuple[tuple[int, ...], ...] = ((10, 30), (30,), ())


def to_stop(spec: SearchJobSpec, records: Sequence[Record]) -> dict[int, str]:
    """Trials that go on training for nothing, by number, each with the reason in words."""
    found = {}
    for record in records:
        if record.state is not TrialState.TRAINING or not record.reports:
            continue
        if spec.algorithm is AlgorithmName.HYPERBAND:
            words = _halved(record, records, spec.objective.goal)
        elif spec.early_stopping is not None:
            words = _below_median(record, records, spec.early_stopping, spec.objective.goal)
        else:
            words = None
        if words is not None:
            found[record.number] = words
    return found


def _below_median(record: Record, records: Sequence[Record], rule: EarlyStopping, goal: Goal) -> str | None:
    percent = record.reports[-1][0]
    if percent < rule.min_percent:
        return None
    others = [
        told
        for one in records
        # One that was stopped before has told nothing of this time.
        if one.number != record.number and one.reports and one.reports[-1][0] >= percent
        if (told := _best_until(one, percent, goal)) is not None
    ]
    own = _best_until(record, percent, goal)
    if own is None or len(others) < rule.min_trials or not worse(own, middle := median(others), goal):
        return None
    return f"at {percent} % its best is {own:g}, and the median of {len(others)} others {middle:g}"


def _best_until(record: Record, percent: int, goal: Goal) -> float | None:
    values = [value for at, value in record.reports if at <= percent]
    if not values:
        return None
    return max(values) if goal is Goal.MAXIMIZE else min(values)


def _halved(record: Record, records: Sequence[Record], goal: Goal) -> str | None:
    bracket = BRACKETS[record.number % len(BRACKETS)]
    for rung in bracket:
        own = _value_at(record, rung)
        if own is None:
            return None
        peers = [
            value
            for one in records
            if one.number != record.number and BRACKETS[one.number % len(BRACKETS)] == bracket
            if (value := _value_at(one, rung)) is not None
        ]
        better = sum(worse(own, value, goal) for value in peers)
        if better >= max(1, (len(peers) + 1) // ETA):
            return f"at {rung} % {better} of {len(peers)} others of its bracket were better: a third goes on"
    return None


def _value_at(record: Record, rung: int) -> float | None:
    return next((value for percent, value in record.reports if percent >= rung), None)


def worse(one: float, other: float, goal: Goal) -> bool:
    """Tell whether `one` is worse than the other."""
    return one < other if goal is Goal.MAXIMIZE else one > other
