"""Inputs for a warm-up: plausible numbers in shapes that the model takes, or those that somebody gives.

Nobody knows what a model takes before it has run: lengths of free axes, indices, words. So there are several attempts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.signature import Signature, Tensor

FREE_AXIS = 16  # length given to an axis that may have any, such as a sequence
PICTURE_SIDE = 224
COLOURS = frozenset({1, 3, 4})
LENGTHS = (32, 1, 8, 128, 256, 512, 640)  # tried when the model does not run with the first ones
MOST_VALUES = 100_000_000  # of one input, where its free axes are somebody's guess
WORDS = (b"1", b"a", b"")


@dataclass(frozen=True)
class Attempt:
    """Choice of free axes and values for an input.

    `lengths`: of each free axis; None: as a picture or a sequence has them. `fill`: what numbers there are: of [0, 1),
    or one number everywhere. `shapes` and `rows`: given by somebody, by the name of the input.
    """

    lengths: int | None = None
    fill: float | None = None
    word: bytes = WORDS[0]
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    rows: Mapping[str, Array] = field(default_factory=dict)


def attempts(given: Attempt | None = None) -> Iterator[Attempt]:
    """Attempts in the order in which they are tried; only the one that is given where it has rows."""
    base = given or Attempt()
    yield base
    if base.rows:
        return
    if not base.shapes:
        yield from (replace(base, lengths=length) for length in LENGTHS)
    yield from (replace(base, fill=fill) for fill in (1.0, 0.0))
    yield from (replace(base, word=word) for word in WORDS[1:])


def sample(signature: Signature, rows: int, seed: int = 0, how: Attempt | None = None) -> list[Array]:
    """Numbers from [0, 1), integers 0 and 1, the text "1"; `rows` on the first axes where those are free."""
    how = how or Attempt()
    random = np.random.default_rng(seed)
    names: dict[str, int] = {}
    if not signature.fixed:
        names |= {str(tensor.axes[0]): rows for tensor in signature.inputs}
    chosen = None if signature.fixed else np.arange(seed, seed + rows)
    return [
        _chosen(how.rows[tensor.name], chosen)
        if tensor.name in how.rows
        else _fill(tensor, _shape(tensor, names, how, 0 if chosen is None else rows), random, how)
        for tensor in signature.inputs
    ]


def _chosen(given: Array, rows: "Array | None") -> Array:
    """Rows of what was given, from the start again when it has fewer."""
    return given if rows is None or not given.ndim or not len(given) else given[rows % len(given)]


def _shape(tensor: Tensor, names: dict[str, int], how: Attempt, rows: int) -> list[int]:
    given = how.shapes.get(tensor.name)
    if given is not None:
        return [rows, *given[1:]] if rows and given else list(given)
    length = how.lengths or (PICTURE_SIDE if _picture(tensor) else FREE_AXIS)
    shape = [axis if isinstance(axis, int) else names.setdefault(axis, length) for axis in tensor.axes]
    if prod(shape) > MOST_VALUES and not all(isinstance(axis, int) for axis in tensor.axes[1:]):
        raise ValueError(f"{shape} are too many values to invent: give shapes")
    return shape


def _picture(tensor: Tensor) -> bool:
    """Four axes, and channels where one or the other layout has them."""
    return (
        tensor.datatype.floating and len(tensor.axes) == 4 and not COLOURS.isdisjoint({tensor.axes[1], tensor.axes[3]})
    )


def _fill(tensor: Tensor, shape: Sequence[int], random: np.random.Generator, how: Attempt) -> Array:
    if tensor.datatype is Datatype.BYTES:
        return np.full(shape, how.word, dtype=object)
    if how.fill is not None:
        return np.full(shape, how.fill).astype(tensor.datatype.dtype)
    if tensor.datatype.floating:
        return random.random(shape, dtype=np.float32).astype(tensor.datatype.dtype)
    return random.integers(0, 2, shape).astype(tensor.datatype.dtype)
