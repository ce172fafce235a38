"""JSON with long arrays in it, written in pieces. Pure; called by inference.py and by web's answers.

The library that writes JSON holds the interpreter until an array is done: in one piece, a reply of some million numbers
would keep every other client waiting for a second, on whatever thread it is written.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from workloads.serve.datatypes import Array

# Elements in one piece.
PIECE = 16384
# Elements of an answer that is written at once: about a millisecond.
LONG = 32768


def in_pieces(array: Any) -> list[bytes]:
    """A flat array, or a list of strings, as parts to be joined, none of them long to write."""
    if len(array) <= LONG:
        return [orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)]
    parts = []
    for place in range(0, len(array), PIECE):
        piece = orjson.dumps(array[place : place + PIECE], option=orjson.OPT_SERIALIZE_NUMPY)
        parts += [b"," if place else b"[", piece[1:-1]]
    return [*parts, b"]"]


def plain(array: Array) -> Any:
    """JSON form of an array: lists, or for a long one an array of numbers that JSON has, whose rows `written` takes."""
    if array.dtype.kind == "O":
        array = np.vectorize(lambda text: text.decode(errors="replace"), otypes=[object])(array)
    elif array.size > LONG:
        # Half and single floats are written as what they are in full, as a list's are.
        return np.ascontiguousarray(array.astype(np.float64) if array.dtype.kind in "fV" else array)
    return array.tolist()


def written(document: Any) -> Iterator[bytes]:
    """A document of objects, lists and arrays of numbers, in parts to be joined, none of them long to write."""
    if isinstance(document, dict):
        yield b"{"
        for place, (name, value) in enumerate(document.items()):
            yield b"%b%b:" % (b"," if place else b"", orjson.dumps(name))
            yield from written(value)
        yield b"}"
    elif isinstance(document, list | np.ndarray) and len(document):
        yield b"["
        for place, piece in enumerate(_pieces(document)):
            yield b"," if place else b""
            yield from piece
        yield b"]"
    else:
        yield orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _pieces(values: "Sequence[Any] | Array") -> Iterator[Iterator[bytes]]:
    """Elements of a list that are long themselves, each alone; of the others some at a time."""
    if isinstance(values, list) and isinstance(values[0], dict | list | np.ndarray):
        yield from map(written, values)
        return
    width = values[0].size if isinstance(values, np.ndarray) else 1
    if width > PIECE:
        yield from map(written, values)
        return
    step = max(1, PIECE // max(1, width))
    for place in range(0, len(values), step):
        text = orjson.dumps(values[place : place + step], option=orjson.OPT_SERIALIZE_NUMPY)
        yield iter((text[1:-1],))
