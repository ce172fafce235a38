"""Sequences of characters or words: what a recogniser reads, and how many edits part it from what is written.

Scores [n, steps, classes] are read greedily as connectionist temporal classification has it (Graves et al. 2006): the
best class of each step, repeats taken together, blanks left out. Whole numbers [n, steps] are sequences already, with
negative ones as padding.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

PADDING = -1


def read(outputs: "Array", blank: int) -> "list[Array]":
    """The sequence of each sample. `blank`: number of the class that is none; negative ones count from the end."""
    if outputs.dtype.kind in "iub":
        return [row[row >= 0] for row in outputs.reshape(len(outputs), -1).astype(np.int64)]
    if outputs.ndim != 3:
        raise BadInput(f"the model's output has shape {outputs.shape}: a sequence needs [n, steps, classes]")
    none = blank % outputs.shape[2] if outputs.shape[2] else 0
    found = []
    for row in outputs.argmax(-1):
        first = np.concatenate([[True], row[1:] != row[:-1]]) if len(row) else np.zeros(0, bool)
        found.append(row[first & (row != none)])
    return found


def padded(outputs: "Array", blank: int) -> "Array":
    """The sequences [n, longest], filled up."""
    found = read(outputs, blank)
    result = np.full((len(found), max(1, *outputs.shape[1:2])), PADDING, np.int64)
    for row, sequence in zip(result, found, strict=True):
        row[: len(sequence)] = sequence
    return result


def score(given: "Array", wanted: "Array", blank: int) -> "Array":
    """1 - edits / length of what is wanted, at least 0, for each sample: 1 less the character error rate."""
    pairs = zip(read(given, blank), read(wanted, blank), strict=True)
    return np.array([1 - min(1.0, distance(one, other) / max(1, len(other))) for one, other in pairs])


def distance(first: "Array", second: "Array") -> int:
    """Insertions, deletions and substitutions from one to the other (Levenshtein 1966)."""
    places = np.arange(len(second) + 1)
    row = places.copy()
    for count, symbol in enumerate(first, start=1):
        kept = np.concatenate([[count], np.minimum(row[1:] + 1, row[:-1] + (second != symbol))])
        # An insertion costs one more than the place before: the least of all places before, each with its way.
        row = np.minimum.accumulate(kept - places) + places
    return int(row[-1])
