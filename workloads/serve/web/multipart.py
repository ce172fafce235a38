"""The parts of a multipart/form-data body, as browsers and `curl -F` send it. Copies each part once."""

import re
from dataclasses import dataclass

from workloads.serve.errors import Invalid

BOUNDARY = re.compile(
    rb'multipart/form-data\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE | re.DOTALL
)
NAME = re.compile(rb'\bname="([^"]*)"', re.IGNORECASE)
PART_HEADERS = 16 << 10
MOST_PARTS = 1024


@dataclass(frozen=True)
class Part:
    """One field: its name, whether it is a file, its content type and its bytes."""

    name: str
    file: bool
    content_type: str
    content: bytes


def parts(content_type: bytes, body: bytes) -> list[Part]:
    """Parts of a body, in order. Invalid for what is not multipart/form-data."""
    found = BOUNDARY.match(content_type)
    if found is None:
        raise Invalid("multipart/form-data without a boundary")
    delimiter = b"\r\n--" + (found[1] or found[2])
    # The first delimiter may stand at the very beginning, without a line before it.
    pieces = (b"\r\n" + body).split(delimiter, MOST_PARTS + 2)
    if len(pieces) > MOST_PARTS + 2:
        raise Invalid(f"more than {MOST_PARTS} parts")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise Invalid("the multipart body is not whole")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator or len(head) > PART_HEADERS:
        raise Invalid("a part of the multipart body has no headers, or too many")
    headers = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    disposition = headers.get(b"content-disposition", b"")
    field = NAME.search(disposition)
    return Part(
        field[1].decode(errors="replace") if field else "",
        b"filename" in disposition.lower(),
        headers.get(b"content-type", b"").decode(errors="replace"),
        content,
    )
