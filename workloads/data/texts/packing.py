"""Token sequences as samples: padded one by one, or several in one of a fixed length that do not see each other.

A sample is three rows of numbers: tokens, the segment that each belongs to (0 is padding), and its place in the
segment. A target is the next token of the same segment where that is to be learned, else IGNORED: nothing is ever
learned across the border of two texts, and no token's number says that it is padding. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

IGNORED = -100
STEP = 8  # padded lengths are multiples of it


@dataclass(frozen=True)
class TokenSequence:
    """Tokens of a text, and which of them are to be learned."""

    tokens: "Numbers"
    learned: "npt.NDArray[np.bool_]"


@dataclass(frozen=True)
class Packed:
    """Samples of one or more sequences each; `bins` has the sequences of each sample by number."""

    sequences: Sequence[TokenSequence]
    bins: Sequence[Sequence[int]]
    length: int | None
    """Length of all samples in tokens; None pads to the longest of a batch."""

    def __len__(self) -> int:
        return len(self.bins)

    def batch(self, indices: Sequence[int]) -> "tuple[Numbers, Numbers]":
        """int64 [n, 3, length]: tokens, segments, places; and int64 [n, length]: targets."""
        chosen = [[self.sequences[one] for one in self.bins[index]] for index in indices]
        longest = self.length or max(sum(len(one.tokens) for one in part) for part in chosen)
        length = -(-longest // STEP) * STEP
        rows = np.zeros((len(chosen), 3, length), np.int64)
        targets = np.full((len(chosen), length), IGNORED, np.int64)
        for row, target, part in zip(rows, targets, chosen, strict=True):
            at = 0
            for number, one in enumerate(part, start=1):
                count = len(one.tokens)
                row[0, at : at + count] = one.tokens
                row[1, at : at + count] = number
                row[2, at : at + count] = np.arange(count)
                target[at : at + count - 1] = np.where(one.learned[1:], one.tokens[1:], IGNORED)
                at += count
        return rows, targets


def single(sequences: Sequence[TokenSequence]) -> Packed:
    """Each sequence a sample of its own."""
    return Packed(sequences, [[number] for number in range(len(sequences))], None)


def packed(sequences: Sequence[TokenSequence], length: int) -> Packed:
    """Best-fit decreasing (Johnson 1973): the longest first, each into the fullest sample that has room for it."""
    order = sorted(range(len(sequences)), key=lambda number: (-len(sequences[number].tokens), number))
    bins: list[list[int]] = []
    rooms: dict[int, list[int]] = {}  # samples by the tokens that they have room for
    for number in order:
        need = len(sequences[number].tokens)
        room = min((free for free in rooms if free >= need and rooms[free]), default=None)
        if room is None:
            bins.append([number])
            rooms.setdefault(length - need, []).append(len(bins) - 1)
            continue
        place = rooms[room].pop()
        if not rooms[room]:
            del rooms[room]
        bins[place].append(number)
        rooms.setdefault(room - need, []).append(place)
    return Packed(sequences, bins, length)
