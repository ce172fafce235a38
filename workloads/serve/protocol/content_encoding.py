"""The body behind its Content-Encoding: bounded while it is inflated, for 64 KiB may stand for 64 MiB.

Asked by whoever reads a body. gzip may come in several members, deflate with or without zlib's frame.
"""

import zlib

from workloads.serve.errors import Invalid, TooLarge, UnsupportedEncoding
from workloads.serve.http.message import Buffer, Request

IDENTITY = b"identity"
GZIP, DEFLATE = frozenset({b"gzip", b"x-gzip"}), frozenset({b"deflate"})
# Rows of zeros are a thousand times smaller than what they stand for; so much may come of any body.
ANY_RATIO = 4 << 20
MOST_RATIO = 100
PIECE = 64 << 10
# Bytes of JSON, or of what is compressed, that are read on the loop: about a millisecond, whatever they hold.
AT_ONCE = 64 << 10
MOST_MEMBERS = 4096
GZIP_FRAME, ZLIB_FRAME, NO_FRAME = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
ZLIB_METHOD = 8


def coding_of(request: Request) -> bytes:
    """The one coding of a body, lower case; `identity` when there is none. UnsupportedEncoding for any other."""
    said = request.headers.get(b"content-encoding")
    if said is None:
        return IDENTITY
    codings = [one for part in said.split(b",") if (one := part.strip().lower()) not in {b"", IDENTITY}]
    if not codings:
        return IDENTITY
    if len(codings) > 1 or codings[0] not in GZIP | DEFLATE:
        raise UnsupportedEncoding("Content-Encoding may be gzip, deflate or identity, and one of them only")
    return codings[0]


def inflated(body: Buffer, coding: bytes, most: int) -> bytes:
    """At most `most` bytes. TooLarge beyond, or for a body that is nearly nothing but repetition; Invalid in words."""
    if coding == IDENTITY:
        return bytes(body)
    most_here = min(most, max(ANY_RATIO, MOST_RATIO * len(body)))
    stream, frame = _Inflating(coding), memoryview(body)
    for place in range(0, len(body), PIECE):
        stream.feed(bytes(frame[place : place + PIECE]), most_here)
        if stream.size > most_here:
            if most_here < most:
                raise TooLarge(
                    f"the body has more than {MOST_RATIO} bytes for each that was sent: send it uncompressed"
                )
            raise TooLarge(f"the body has more than {most} bytes when it is decompressed")
    if not stream.whole:
        raise Invalid(f"the {coding.decode()} body is not whole")
    return b"".join(stream.parts)


def inflate(request: Request, most: int) -> None:
    """The request's own body, in place. Its header goes with the coding: a copy of it would not be what it says."""
    request.body = inflated(request.body, coding_of(request), most)
    request.headers.pop(b"content-encoding", None)


def inflated_if_small(request: Request) -> bool:
    """Inflate in place what takes no time. False: it would, or would not even be whole then; nothing has changed."""
    coding = coding_of(request)
    if coding == IDENTITY:
        return True
    if request.size > AT_ONCE:
        return False
    try:
        request.body = inflated(request.body, coding, AT_ONCE)
    except TooLarge:
        return False
    del request.headers[b"content-encoding"]
    return True


class _Inflating:
    """`parts` of `size` bytes together so far; `whole` at the end of a member."""

    def __init__(self, coding: bytes) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None
        self._members = 0
        self.parts: list[bytes] = []
        self.size = 0

    @property
    def whole(self) -> bool:
        """Nothing is missing."""
        return self._stream is not None and self._stream.eof

    def feed(self, data: bytes, most: int) -> None:
        """One piece of the body; stops soon after `most` bytes have come of it."""
        while data and self.size <= most:
            stream = self._stream
            if stream is None or stream.eof:
                # Zeros behind a member fill a block, of a tape or of a cipher, as gzip itself takes them.
                data = data.lstrip(b"\0") if stream is not None and self._coding in GZIP else data
                if not data:
                    return
                stream = self._next(data)
            try:
                part = stream.decompress(data, max(1, most + 1 - self.size))
            except zlib.error as error:
                raise Invalid(f"the body is not {self._coding.decode()}: {error}") from error
            self.parts.append(part)
            self.size += len(part)
            data = stream.unused_data if stream.eof else stream.unconsumed_tail

    def _next(self, data: bytes) -> "zlib._Decompress":
        self._members += 1
        if self._members > 1 and (self._coding not in GZIP or data[:1] != b"\x1f"):
            raise Invalid(f"something follows the {self._coding.decode()} body")
        if self._members > MOST_MEMBERS:
            raise Invalid(f"the body has more than {MOST_MEMBERS} gzip members")
        self._stream = zlib.decompressobj(wbits=self._frame(data))
        return self._stream

    def _frame(self, data: bytes) -> int:
        """Whichever name it has: clients mix them up."""
        if data[:1] == b"\x1f" or self._coding in GZIP:
            return GZIP_FRAME
        zlib_head = len(data) > 1 and data[0] & 15 == ZLIB_METHOD and int.from_bytes(data[:2], "big") % 31 == 0
        return ZLIB_FRAME if zlib_head else NO_FRAME
