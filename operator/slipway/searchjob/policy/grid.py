"""Points of a finite search space, counted: which grid has a number, and how many there are. Pure."""

import math
from collections.abc import Sequence

from slipway.api.search.paths import Value
from slipway.api.search.space import Parameter

# Points are told apart up to here; a larger space is never used up by the trials that a search may have.
MOST = 10**6


def size(parameters: Sequence[Parameter]) -> int | None:
    """Number of points; None where a range is not counted, or there are more than MOST."""
    points = 1
    for parameter in parameters:
        count = _count(parameter)
        if count is None or points * count > MOST:
            return None
        points *= count
    return points


def point(parameters: Sequence[Parameter], index: int) -> dict[str, Value]:
    """The point of this index, the last parameter changing first. The space must be countable."""
    found: dict[str, Value] = {}
    for parameter in reversed(parameters):
        count = _count(parameter) or 1
        index, place = divmod(index, count)
        found[parameter.path] = _value(parameter, place)
    return {parameter.path: found[parameter.path] for parameter in parameters}


def _count(parameter: Parameter) -> int | None:
    if parameter.float_ is not None:
        one = parameter.float_
        # A step that divides the range does so but for the last bits of both.
        return None if one.step is None else math.floor((one.max - one.min) / one.step + 1e-9) + 1
    if parameter.int_ is not None:
        return (parameter.int_.max - parameter.int_.min) // parameter.int_.step + 1
    return len(parameter.choices)


def _value(parameter: Parameter, place: int) -> Value:
    if parameter.float_ is not None:
        return round(parameter.float_.min + place * (parameter.float_.step or 0), 12)
    if parameter.int_ is not None:
        return parameter.int_.min + place * parameter.int_.step
    return parameter.choices[place]
