"""Nodes of an elastic job: a lost one is replaced by one of a new number, an edit adds or removes some. Pure.

Numbers are never used twice within an attempt: nothing waits for a ghost on a lost node, and no peer mistakes a new
process for the one that it knew. Node 0 keeps the rendezvous: without it, the whole gang starts anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class Nodes:
    """The numbers of the nodes; `creating` are those whose pods are still to be asked for."""

    indices: tuple[int, ...]
    creating: tuple[int, ...] = ()
    next: int = 0

    @classmethod
    def first(cls, size: int) -> Self:
        """Nodes of a new attempt."""
        return cls(tuple(range(size)), (), size)

    @classmethod
    def read(cls, wire: Mapping[str, Any]) -> Self:
        """Read the nodes from status.elastic."""
        return cls(tuple(wire["indices"]), tuple(wire.get("creating") or ()), wire.get("next") or 0)

    def wire(self) -> dict[str, Any]:
        """JSON for status.elastic, without an empty `creating`."""
        creating = {"creating": [*self.creating]} if self.creating else {}
        return {"indices": [*self.indices], **creating, "next": self.next}

    def grown(self, by: int) -> Self:
        """Scale up: these nodes and `by` more, with numbers never used before."""
        new = tuple(range(self.next, self.next + by))
        return replace(self, indices=self.indices + new, creating=self.creating + new, next=self.next + by)

    def without(self, gone: Sequence[int]) -> Self:
        """Scale down: these nodes without `gone`."""
        kept = tuple(index for index in self.indices if index not in gone)
        return replace(self, indices=kept, creating=tuple(index for index in self.creating if index in kept))

    def replaced(self, index: int) -> Self:
        """Replace a lost node by one of a new number."""
        return self.without([index]).grown(1)

    def resized(self, size: int, started: Sequence[int]) -> Self:
        """Nodes of a gang of `size`: those that have not `started` go first, then the newest; never node 0."""
        surplus = len(self.indices) - size
        if surplus <= 0:
            return self.grown(-surplus)
        order = sorted((index for index in self.indices if index != 0), key=lambda index: (index in started, -index))
        return self.without(order[:surplus])
