"""Headers of gRPC over HTTP/2: what a call says, and what its answer says. Pure; used by call.py and calls.py."""

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from workloads.serve.http2.hpack import LIST_BYTES, LIST_LENGTH, TOO_LONG, Header, literal

NAMES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED"
)
STATUSES = {name: number for number, name in enumerate(NAMES.split())}
GRPC = b"application/grpc"
TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# `:status 200` and the content's type.
ALONE = b"\x88" + literal(b"content-type", GRPC)
PLAIN = re.compile(rb"[^\x20-\x24\x26-\x7e]")
WORDS_BYTES = 4096


class Head(NamedTuple):
    """Head of a call, before its messages. `refusal`: HTTP status for what is no call."""

    path: str
    timeout: float | None
    encoding: bytes
    said: Mapping[str, str]
    refusal: int = 0


@lru_cache(256)
def head_of(headers: tuple[Header, ...]) -> Head:
    """Head from its headers."""
    given: dict[bytes, bytes] = {}
    said: dict[str, str] = {}
    for name, value in headers:
        if name[:1] == b":" or name in (b"content-type", b"grpc-timeout", b"grpc-encoding", b"te"):
            given[name] = value
        else:
            said[name.decode("latin-1")] = _text(name, value)
    refusal = 0
    if headers[-1:] == (TOO_LONG,):
        # By gRPC's own rules a status of HTTP hides the words, so a call has them behind 200.
        refusal = 200 if given.get(b"content-type", GRPC).startswith(GRPC) else 431
    elif given.get(b":method") != b"POST":
        refusal = 405
    elif not given.get(b"content-type", b"").startswith(GRPC):
        refusal = 415
    timed = TIMEOUT.fullmatch(given.get(b"grpc-timeout", b""))
    timeout = int(timed[1]) * SECONDS[timed[2]] if timed else None
    path = given.get(b":path", b"").decode("latin-1")
    return Head(path, timeout, given.get(b"grpc-encoding", b"identity"), MappingProxyType(said), refusal)


def _text(name: bytes, value: bytes) -> str:
    if name.endswith(b"-bin"):
        try:
            value = base64.b64decode(value + b"=" * (-len(value) % 4))
        except ValueError:
            value = b""
    return value.decode("latin-1")


def leading(more: Iterable[Header]) -> bytes:
    """First headers of an answer."""
    return ALONE + b"".join(literal(name, value) for name, value in more)


def trailing(status: str, words: str, more: Iterable[Header]) -> bytes:
    """Last headers of an answer."""
    block = literal(b"grpc-status", b"%d" % STATUSES[status])
    if words:
        coded = PLAIN.sub(lambda found: b"%%%02X" % found[0][0], words.encode())
        block += literal(b"grpc-message", coded[:WORDS_BYTES])
    return block + b"".join(literal(name, value) for name, value in more)


def refused(status: int) -> bytes:
    """Whole answer to what is no call, or one whose headers are too long."""
    if status == 200:
        words = (
            f"the call's headers have more than {LIST_BYTES} bytes, or are more than {LIST_LENGTH}: send less metadata"
        )
        return ALONE + trailing("RESOURCE_EXHAUSTED", words, ())
    return literal(b":status", b"%d" % status) + literal(b"content-length", b"0")
