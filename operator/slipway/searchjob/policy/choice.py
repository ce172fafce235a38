"""Choice among trials that were trained: the best, and the Pareto front of objective against a figure. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from slipway.api.search.space import Constraint, Goal, Objective
from slipway.api.search.status import TrialState
from slipway.searchjob.policy.stopping import worse
from slipway.searchjob.record import Record

MOST_POINTS = 64


class Point(NamedTuple):
    """One trial of a front."""

    number: int
    value: float
    figure: float


def best(records: Sequence[Record], objective: Objective) -> Record | None:
    """The best trial, of equals the first; None before one has succeeded."""
    chosen: Record | None = None
    for record in records:
        if record.state is not TrialState.SUCCEEDED or record.value is None:
            continue
        if chosen is None or chosen.value is None or worse(chosen.value, record.value, objective.goal):
            chosen = record
    return chosen


def reached(record: Record | None, objective: Objective) -> bool:
    """Tell whether the best trial is as good as is asked for."""
    if record is None or record.value is None or objective.target is None:
        return False
    return not worse(record.value, objective.target, objective.goal)


def front(records: Sequence[Record], objective: Objective, constraint: Constraint | None) -> list[Point]:
    """Trials that no other beats in objective and figure at once, the smallest figure first; at most MOST_POINTS."""
    if constraint is None:
        return []
    points = [
        Point(record.number, record.value, record.figures[constraint.key])
        for record in records
        if record.state is TrialState.SUCCEEDED and record.value is not None and constraint.key in record.figures
    ]
    sign = -1 if objective.goal is Goal.MAXIMIZE else 1
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.figure, sign * one.value, one.number)):
        if not kept or worse(kept[-1].value, point.value, objective.goal):
            kept.append(point)
    # The best ones: the end of the list.
    return kept[-MOST_POINTS:]
