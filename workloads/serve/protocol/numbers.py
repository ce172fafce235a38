"""A tensor out of a long JSON array, a piece at a time: no object for a number lives longer than its piece.

The array's brackets and commas must be exactly those of its shape, which is one comparison of bytes; what stands
between them is parsed by orjson, so that what is no JSON is refused as it would be in one piece.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import orjson

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.errors import Invalid
from workloads.serve.protocol.tensors import check_kinds, from_json, shaped

BLANKS = b" \t\r\n"
PIECE = 32 << 10
DEEPEST = 32
NESTED = re.compile(rb"\[[ \t\r\n]*\[")
_KINDS = bytes(byte if byte in b"[]," else ord("x") for byte in range(256))
_FLAT = bytes(ord(" ") if byte in b"[]" else byte for byte in range(256))


@dataclass(frozen=True)
class Text:
    """A JSON array that has not been parsed: nothing but numbers, true, false and null, in lists."""

    json: memoryview


def from_text(name: str, text: Text, datatype: Datatype, shape: Sequence[int]) -> Array:
    """A new array, flat or nested as `tensors.from_json` takes it, from the same text, with the same refusals."""
    if not datatype.in_json or datatype is Datatype.BYTES or not prod(shape):
        return from_json(name, [0], datatype, shape)  # refuses in its own words
    want = _skeleton(name, shape if NESTED.match(text.json) else [prod(shape)], len(text.json))
    array = np.empty(prod(shape), dtype=datatype.dtype)
    filled = place = 0
    for piece in _pieces(name, text.json):
        kinds = piece.translate(_KINDS, BLANKS)
        said = kinds.translate(None, b"x")
        if b"x[" in kinds or b"]x" in kinds or want[place : place + len(said)] != said:
            raise Invalid(_misshapen(name, text, shape))
        place += len(said)
        values = _parsed(name, b"[%b]" % piece.translate(_FLAT).rstrip(b" ,"))
        check_kinds(name, values, datatype)
        if filled + len(values) > len(array):
            raise Invalid(_misshapen(name, text, shape))
        array[filled : filled + len(values)] = _converted(name, values, datatype)
        filled += len(values)
    if place != len(want) or filled != len(array):
        raise Invalid(_misshapen(name, text, shape))
    return shaped(name, array, shape)


def shape_of(text: Text) -> list[int]:
    """Shape of nested lists, by the first ones; `from_text` finds out whether the others agree."""
    said = bytes(text.json).translate(_KINDS, BLANKS).translate(None, b"x")
    rank = len(said) - len(said.lstrip(b"["))
    if rank > DEEPEST:
        raise Invalid("rows are nested too deeply")
    counts = [1]
    for level in range(1, rank + 1):
        # The first array of this level ends where so many brackets close at once.
        counts.append(said[: said.find(b"]" * level)].count(b",") + 1)
    return [whole // part for part, whole in pairwise(counts)][::-1]


def _pieces(name: str, text: memoryview) -> Iterator[bytes]:
    """Each ends behind a comma, so that no number, and no pair of brackets and numbers, is in two of them."""
    place, rest = 0, b""
    while place < len(text):
        block = rest + bytes(text[place : place + PIECE])
        place += PIECE
        cut = len(block) if place >= len(text) else block.rfind(b",") + 1
        if cut:
            yield block[:cut]
        rest = block[cut:]
        if len(rest) > PIECE:
            raise Invalid(f"input {name!r}: {PIECE} characters without a comma are no number")


def _parsed(name: str, text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"input {name!r}: its data is not JSON: {error.msg}") from error


def _converted(name: str, values: list[Any], datatype: Datatype) -> Array:
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=datatype.dtype)
    except OverflowError as error:
        raise Invalid(f"input {name!r}: a number is out of range for {datatype.name}") from error
    if not finite(array):
        raise Invalid(f"input {name!r}: a number is out of range for {datatype.name}")
    return array


def _skeleton(name: str, shape: Sequence[int], most: int) -> bytes:
    """The brackets and commas of an array of this shape. Invalid where they alone are longer than the text."""
    size, row = 0, b""
    for place, length in enumerate(reversed(shape)):
        size = 2 + length * size + length - 1
        if size > most:
            raise Invalid(f"input {name!r}: its data is shorter than its shape {list(shape)} needs")
        row = b"[%b]" % (b"," * (length - 1)) if not place else b"[%b]" % ((row + b",") * length)[:-1]
    return row


def _misshapen(name: str, text: Text, shape: Sequence[int]) -> str:
    if not NESTED.match(text.json):
        count = bytes(text.json).count(b",") + 1
        return f"input {name!r}: {count} elements, its shape {list(shape)} needs {prod(shape)}"
    return f"input {name!r}: data is not nested as its shape {list(shape)} says"
