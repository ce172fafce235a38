"""The parts of a multipart/form-data body, as browsers and `curl -F` send it. Copies nothing of them."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from workloads.serve.errors import Invalid
from workloads.serve.http.message import Buffer

BOUNDARY = re.compile(
    rb'multipart/form-data\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE | re.DOTALL
)
# .NET's client quotes neither names nor files.
NAME = re.compile(rb'(?:^|[;\s])name\s*=\s*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
# Of a part that names no file, as Spring and OkHttp send bytes: a field of a form has no type, or one of text.
FILES = (b"image/", b"application/octet-stream")
PART_HEADERS = 16 << 10
END_OF_HEADERS = b"\r\n\r\n"
PIECE = 64 << 10  # bytes that are looked at in a turn of the loop
MOST_PARTS = 1024


@dataclass(frozen=True)
class Part:
    """One field: its name, whether it is a file, its content type and its bytes."""

    name: str
    file: bool
    content_type: str
    content: Buffer


async def parts(content_type: bytes, body: Buffer) -> list[Part]:
    """Parts of a body, in order, their contents where they lie. Invalid for what is not multipart/form-data.

    A large body is looked at piece by piece, between which others have their turn.
    """
    found = found_in(content_type, body)
    for one in found:
        if one is not None:
            return one
        await asyncio.sleep(0)
    raise Invalid("the multipart body is not whole")


def found_in(content_type: bytes, body: Buffer) -> Iterator[list[Part] | None]:
    """Parts of a form, after None for each piece that was looked at."""
    found = BOUNDARY.match(content_type)
    if found is None:
        raise Invalid("multipart/form-data without a boundary")
    boundary = b"--" + (found[1] or found[2])
    view, places = memoryview(body), []
    # The first delimiter may stand at the very beginning, without a line before it.
    if bytes(view[: len(boundary)]) == boundary:
        places.append((0, len(boundary)))
    delimiter = b"\r\n" + boundary
    place = places[0][1] if places else 0
    while place < len(view):
        piece = bytes(view[place : place + PIECE])
        at = piece.find(delimiter)
        if at >= 0:
            places.append((place + at, place + at + len(delimiter)))
            if len(places) > MOST_PARTS + 1:
                raise Invalid(f"more than {MOST_PARTS} parts")
            place = places[-1][1]
        else:
            # Its beginning may be the end of this piece.
            place += len(piece) if len(piece) < PIECE else PIECE - len(delimiter)
        if len(view) > PIECE:
            yield None
    if not places or bytes(view[places[-1][1] : places[-1][1] + 2]) != b"--":
        raise Invalid("the multipart body is not whole")
    yield [_part(view[start:end]) for (_, start), (end, _) in pairwise(places)]


def _part(piece: memoryview) -> Part:
    head, separator, _ = bytes(piece[: PART_HEADERS + len(END_OF_HEADERS)]).partition(END_OF_HEADERS)
    if not separator:
        raise Invalid("a part of the multipart body has no headers, or too many")
    headers = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    disposition = headers.get(b"content-disposition", b"")
    field = NAME.search(disposition)
    content_type = headers.get(b"content-type", b"")
    return Part(
        (field[1] or field[2] or b"").decode(errors="replace") if field else "",
        b"filename" in disposition.lower() or content_type.lower().startswith(FILES),
        content_type.decode(errors="replace"),
        piece[len(head) + len(END_OF_HEADERS) :],
    )
