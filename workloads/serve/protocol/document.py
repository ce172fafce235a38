"""A JSON document without its long arrays of numbers, which stay text until it is known what they should be.

What is left is parsed as a whole, so it may hold so many values and no more: a document of brackets, of empty objects
or of keys costs a hundred times its bytes once it is made of objects. Asked by rest/inference.py and by people's rows.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from workloads.serve.errors import Invalid, TooLarge
from workloads.serve.protocol.numbers import Text

# An array of fewer bytes is no saving.
LONG = 4096
# Above it a document is looked at before it is parsed.
SMALL = 64 << 10
MOST_VALUES = 1 << 20
PIECE = 1 << 20
_ENDS = (b'"', b"{", b"}")
_COUNTED = np.zeros(256, dtype=bool)
_COUNTED[list(b",:[{")] = True
QUOTE = ord('"')


def parsed(text: "bytes | memoryview") -> Any:
    """A whole document; a byte order mark before it is passed over (RFC 8259, 8.1). Invalid in words."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if bytes(text[: len(BOM_UTF8)]) == BOM_UTF8:
            return parsed(text[len(BOM_UTF8) :])
        raise Invalid(_words(text, error)) from error
    except RecursionError as error:
        raise Invalid("the request is nested too deeply") from error


def _words(text: "bytes | memoryview", error: orjson.JSONDecodeError) -> str:
    if not len(text):
        return "the request has no body: send JSON, with its Content-Length or in chunks"
    start = bytes(text[:4])
    # JSON begins with an ASCII character, so another encoding shows in the first zeros.
    if start[:2] in {BOM_UTF16_LE, BOM_UTF16_BE} or b"\0" in start:
        return "the request is UTF-16 or UTF-32: send JSON as UTF-8"
    near = bytes(text[max(0, error.pos - 1) : error.pos + len("Infinity")]).lstrip(b",:[ -")
    if near.startswith((b"NaN", b"nan", b"Inf", b"inf")):
        return (
            f"the request is not JSON, which has neither NaN nor infinity (character {error.pos}): send them as binary "
            "data, to a service with nonFinite Allow"
        )
    return f"the request is not JSON: {error}"


def bounded(text: bytes) -> Any:
    """A whole document of so many values and no more. TooLarge beyond, Invalid in words."""
    if len(text) > SMALL and values_in(text) > MOST_VALUES:
        raise TooLarge(f"the JSON holds more than {MOST_VALUES} values")
    return parsed(text)


class Cut:
    """A document whose long arrays under `key` were cut out. `document` has a mark where one was; `text` gives it."""

    def __init__(self, text: bytes, key: str, mark: str) -> None:
        """`mark` is a string that no client can know."""
        self._mark = mark
        self._arrays: list[Text] = []
        self._used: set[str] = set()
        parts: list[bytes | memoryview] = []
        view, place = memoryview(text), 0
        for start, end in _long_arrays(text, key):
            parts += [view[place:start], b'"%b%d"' % (mark.encode(), len(self._arrays))]
            self._arrays.append(Text(view[start:end]))
            place = end
        rest = b"".join((*parts, view[place:])) if parts else text
        if len(rest) > SMALL and values_in(rest) > MOST_VALUES:
            raise TooLarge(f"the JSON holds more than {MOST_VALUES} values that are no numbers of a tensor")
        self.document = parsed(rest)

    def text(self, value: Any) -> Any:
        """The array that was where `value` is now; `value` itself for anything else."""
        if type(value) is not str or not value.startswith(self._mark):
            return value
        self._used.add(value)
        return self._arrays[int(value.removeprefix(self._mark))]

    def check_used(self) -> None:
        """Invalid when an array was where none belongs: nobody would have parsed it."""
        if len(self._used) != len(self._arrays):
            raise Invalid("there is a long list where none belongs, or data is given twice")


def _long_arrays(text: bytes, key: str) -> Iterator[tuple[int, int]]:
    """Spans of long arrays behind `key` that hold neither strings nor objects.

    A key ends with the only quote without a backslash that can stand before a colon, so this is never inside a string.
    """
    ends = dict.fromkeys(_ENDS, -1)
    place = 0
    for found in re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*\[' % re.escape(key.encode())).finditer(text):
        start = found.end() - 1
        if start < place:
            continue
        for sign in _ENDS:
            if ends[sign] < start:
                next_one = text.find(sign, start)
                ends[sign] = next_one if next_one >= 0 else len(text)
        place = min(ends.values())
        end = text.rfind(b"]", start, place) + 1
        if end - start >= LONG:
            yield start, end


def values_in(text: bytes) -> int:
    """About how many values and keys a JSON document holds: no fewer than a parser would make."""
    count, inside, place = 1, False, 0
    while place < len(text):
        piece = text[place : place + PIECE]
        while piece.endswith(b"\\") and place + len(piece) < len(text):
            piece = text[place : place + len(piece) + 1]
        place += len(piece)
        signs = np.frombuffer(piece.replace(b"\\\\", b"  ").replace(b'\\"', b"  "), dtype=np.uint8)
        within = np.logical_xor.accumulate(signs == QUOTE)
        if inside:
            np.logical_not(within, out=within)
        inside = bool(within[-1])
        count += int(np.count_nonzero(_COUNTED[signs] & ~within))
    return count
