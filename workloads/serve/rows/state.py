"""Place of the batch's rows in a tensor, and what a node knows of its operands. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np


class Word(Enum):
    """Verdict on a graph's rows, in one word."""

    INDEPENDENT = "independent"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """`reason` in words, for MIXED and UNKNOWN."""

    word: Word
    reason: str = ""


@dataclass(frozen=True)
class Free:
    """State of a tensor that is the same whatever the rows hold: a constant, or something made from shapes."""


@dataclass(frozen=True)
class Length(Free):
    """State of a tensor that depends on the number of rows alone: made from a shape with rows in it."""


@dataclass(frozen=True)
class At:
    """State of a tensor with row i of the batch at place i of this axis, and nowhere else.

    `folded`: the axis may hold rows x steps; each row's share is still one block, in order.
    """

    axis: int
    folded: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Mixed:
    """State of a tensor of which each part depends on all rows."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """State of a tensor that depends on rows in an unknown way."""

    reason: str


State = Free | At | Mixed | Unknown
Shape = Sequence[int | str | None]
FREE = Free()
LENGTH = Length()


def worst(states: Sequence[State]) -> State:
    """Worst of the states that flow together: Mixed before Unknown before the first At, Length before Free."""
    for kind in (Mixed, Unknown, At, Length):
        for state in states:
            if isinstance(state, kind):
                return state
    return FREE


@dataclass
class Node:
    """A node with what is known of its operands. Lists are in the order of its inputs; a missing one is FREE."""

    op: str
    domain: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    states: Sequence[State]
    shapes: Sequence[Shape | None]
    values: "Sequence[np.ndarray[Any, Any] | None]"
    results: Sequence[Shape | None] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Operator and name of the node, for messages."""
        return f"{self.op} {self.name!r}" if self.name else self.op

    def rank(self, place: int) -> int | None:
        """Axes of an operand."""
        shape = self.shapes[place] if place < len(self.shapes) else None
        return None if shape is None else len(shape)

    def result_rank(self, place: int = 0) -> int | None:
        """Axes of a result."""
        shape = self.results[place] if place < len(self.results) else None
        return None if shape is None else len(shape)

    def integers(self, place: int, attribute: str = "") -> list[int] | None:
        """A list that is an attribute in old opsets and a constant operand in new ones; None when it is neither."""
        if attribute in self.attributes:
            given = self.attributes[attribute]
            return [int(one) for one in given] if isinstance(given, list | tuple) else [int(given)]
        value = self.values[place] if place < len(self.values) else None
        return None if value is None else [int(one) for one in np.asarray(value).reshape(-1)]

    def axis(self, default: int, place: int = 0) -> int | None:
        """The attribute `axis`, counted from the front; None when the rank must be known for that and is not."""
        return self.counted(int(self.attributes.get("axis", default)), self.rank(place))

    @staticmethod
    def counted(axis: int, rank: int | None) -> int | None:
        """Axis counted from the front; None for a negative one when the rank is not known."""
        if axis >= 0:
            return axis
        return None if rank is None else axis + rank
