"""A JSON document with long arrays in it, written in pieces. Pure; called by inference.py.

The library that writes JSON holds the interpreter until an array is done: in one piece, a reply of some million numbers
would keep every other client waiting for a second, on whatever thread it is written.
"""

from collections.abc import Mapping
from typing import Any

import orjson

# Elements in one piece.
PIECE = 16384


def put_in(document: bytes, arrays: Mapping[str, Any]) -> list[bytes]:
    """The document with each array in place of its mark, which is a string of the document; as parts to be joined."""
    parts: list[bytes] = []
    for mark, array in arrays.items():
        before, _, document = document.partition(b'"%b"' % mark.encode())
        parts.append(before)
        for place in range(0, len(array), PIECE):
            piece = orjson.dumps(array[place : place + PIECE], option=orjson.OPT_SERIALIZE_NUMPY)
            parts += [b"," if place else b"[", piece[1:-1]]
        parts.append(b"]")
    return [*parts, document]
