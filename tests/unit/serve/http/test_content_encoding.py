"""Content-Encoding: every form that clients send, and bodies that are small only until they are inflated."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.serve.errors import Invalid, TooLarge, UnsupportedEncoding
from workloads.serve.http import Request
from workloads.serve.protocol.content_encoding import ANY_RATIO, MOST_MEMBERS, coding_of, inflated

MOST = 64 << 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.sampled_from([b"gzip", b"x-gzip"]))
def test_gzip_of_several_members(parts, coding) -> None:
    body = b"".join(map(gzip.compress, parts))
    assert inflated(body, coding, MOST) == b"".join(parts)


@given(st.binary(max_size=300), st.sampled_from([zlib.compress, raw_deflate, gzip.compress]))
def test_deflate_has_two_forms_and_some_mean_gzip(data, pack) -> None:
    assert inflated(pack(data), b"deflate", MOST) == data


def test_a_body_of_many_pieces() -> None:
    data = b"".join(b"%d," % (number * 7919 % 100_003) for number in range(200_000))
    for level in (0, 1, 9):
        assert inflated(gzip.compress(data, level), b"gzip", MOST) == data


def request(*codings: bytes) -> Request:
    return Request(b"POST", b"/", {b"content-encoding": b", ".join(codings)} if codings else {}, b"")


@pytest.mark.parametrize(
    ("said", "coding"),
    [
        ((), b"identity"),
        ((b"",), b"identity"),
        ((b"identity",), b"identity"),
        ((b"GZIP",), b"gzip"),
        ((b"x-gzip",), b"x-gzip"),
        ((b"identity", b" gzip "), b"gzip"),
        ((b"deflate",), b"deflate"),
    ],
)
def test_names_of_codings(said, coding) -> None:
    assert coding_of(request(*said)) == coding


@pytest.mark.parametrize("said", [(b"br",), (b"zstd",), (b"gzip", b"gzip"), (b"gzip;q=1",), (b"compress",)])
def test_other_codings_are_refused_in_words(said) -> None:
    with pytest.raises(UnsupportedEncoding, match="gzip, deflate or identity"):
        coding_of(request(*said))


@pytest.mark.parametrize(
    "bomb",
    [
        gzip.compress(bytes(64 << 20)),
        gzip.compress(b'{"inputs":[' + b"[]," * (20 << 20)),
        zlib.compress(bytes(64 << 20)),
    ],
    ids=["zeros", "brackets", "deflate"],
)
def test_64_kib_do_not_become_64_mib(bomb: bytes) -> None:
    assert len(bomb) < 256 << 10
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="send it uncompressed"):
            inflated(bomb, b"gzip" if bomb[:1] == b"\x1f" else b"deflate", MOST)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * max(ANY_RATIO, 100 * len(bomb))


def test_what_is_counted_is_what_comes_out() -> None:
    body = gzip.compress(bytes(1000))
    assert inflated(body, b"gzip", 1000) == bytes(1000)
    with pytest.raises(TooLarge, match="999 bytes when it is decompressed"):
        inflated(body, b"gzip", 999)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not whole"),
        (b"not gzip", "is not gzip"),
        (gzip.compress(b"{}")[:-1], "not whole"),
        (gzip.compress(b"{}") + b"more", "something follows"),
        (gzip.compress(b"{}") + gzip.compress(b"{}")[:9], "not whole"),
        (gzip.compress(b"") * (MOST_MEMBERS + 1), "members"),
    ],
    ids=["empty", "other", "short", "more", "second is short", "members"],
)
def test_a_damaged_body_is_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        inflated(body, b"gzip", MOST)
