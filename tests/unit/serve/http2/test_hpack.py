"""Header blocks: RFC 7541's own examples, any bytes, and blocks that are small until they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.serve.http2 import huffman
from workloads.serve.http2.hpack import STATIC, TABLE_BYTES, TOO_LONG, BadBlock, Decoder, literal


def coded(text: bytes) -> bytes:
    """The other direction, bit by bit."""
    words: dict[int, str] = {}
    code = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(huffman.LENGTHS)):
        code <<= length - before
        before, words[symbol] = length, f"{code:0{length}b}"
        code += 1
    bits = "".join(words[byte] for byte in text)
    bits += "1" * (-len(bits) % 8)
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


@given(st.binary(max_size=200))
def test_a_coded_string_is_what_it_was(text: bytes) -> None:
    assert huffman.decode(coded(text)) == text


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\x00\xff\xff", b"\x18"], ids=["end", "long padding", "padding of 0"]
)
def test_what_is_no_string_of_the_code_is_refused(data: bytes) -> None:
    with pytest.raises(huffman.BadCode):
        huffman.decode(data)


def test_the_examples_of_the_rfc_with_the_code() -> None:
    """Appendix C.4: requests, which share a table."""
    decoder = Decoder()
    first = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
    blocks = {
        "828684418cf1e3c2e5f23a6ba0ab90f4ff": first,
        "828684be5886a8eb10649cbf": [*first, (b"cache-control", b"no-cache")],
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf": [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/index.html"),
            (b":authority", b"www.example.com"),
            (b"custom-key", b"custom-value"),
        ],
    }
    for block, headers in blocks.items():
        assert list(decoder.headers(bytes.fromhex(block))) == headers


def test_the_examples_of_the_rfc_without_the_code() -> None:
    """Appendix C.2 and C.3."""
    decoder = Decoder()
    assert decoder.headers(bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572")) == (
        (b"custom-key", b"custom-header"),
    )
    assert decoder.headers(b"\xbe") == ((b"custom-key", b"custom-header"),)
    assert decoder.headers(bytes.fromhex("100870617373776f726406736563726574")) == ((b"password", b"secret"),)
    assert decoder.headers(bytes.fromhex("040c2f73616d706c652f70617468")) == ((b":path", b"/sample/path"),)


@given(st.binary(max_size=10), st.binary(max_size=300))
def test_what_is_written_is_read(name: bytes, value: bytes) -> None:
    assert Decoder().headers(literal(name, value)) == ((name, value),)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_headers_or_are_refused(blocks: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for block in blocks:
            decoder.headers(block)
    except BadBlock:
        pass


def test_a_byte_that_stands_for_four_thousand_is_counted_as_them() -> None:
    decoder = Decoder()
    decoder.headers(b"\x40\x01a\x7f\x81\x1e" + b"v" * 3968)
    assert decoder.headers(b"\xbe" * 1000)


def test_a_table_is_as_large_as_it_was_offered_and_no_larger() -> None:
    decoder = Decoder()
    for number in range(300):
        decoder.headers(b"\x40\x04%04d\x40" % number + b"v" * 64)
    assert len(decoder._table) == TABLE_BYTES // 100
    with pytest.raises(BadBlock):
        decoder.headers(b"\x3f\xe2\x1f")
    decoder.headers(b"\x20")
    assert not decoder._table
    with pytest.raises(BadBlock, match="not there"):
        decoder.headers(bytes([128 | (len(STATIC) + 1)]))


def test_a_block_that_is_known_means_something_else_when_the_table_has_changed() -> None:
    decoder = Decoder()
    decoder.headers(b"\x40\x01a\x01b")
    assert decoder.headers(b"\xbe") == decoder.headers(b"\xbe") == ((b"a", b"b"),)
    decoder.headers(b"\x40\x01c\x01d")
    assert decoder.headers(b"\xbe") == ((b"c", b"d"),)


def indexed(name: bytes, value: bytes) -> bytes:
    """One header that both ends remember."""
    return b"\x40" + literal(name, value)[1:]


LONG = {
    "one long value": lambda: literal(b"cookie", b"a" * 40_000),
    "one long value, to be remembered": lambda: indexed(b"cookie", b"a" * 40_000),
    "many values, to be remembered": lambda: b"".join(indexed(b"c%d" % at, b"a" * 2000) for at in range(15)),
    "many of one byte": lambda: b"\x82" * 1000,
    "a coded one": lambda: b"\x00\x01a" + b"\xff\xe1\x7f" + coded(b"a" * 26_400)[:16_480],
}


@pytest.mark.parametrize("name", LONG)
def test_a_block_that_is_too_long_leaves_the_table_as_its_client_has_it(name: str) -> None:
    """Other calls of the connection go on: too long headers of one ended them all."""
    decoder, plain = Decoder(), Decoder()
    first = indexed(b"kept", b"before")
    decoder.headers(first)
    found = decoder.headers(b"\x83" + LONG[name]() + indexed(b"kept", b"within"))
    assert found[0] == (b":method", b"POST")
    assert found[-1] == TOO_LONG
    plain.headers(indexed(b"kept", b"within"))
    assert decoder.headers(b"\xbe") == plain.headers(b"\xbe") == ((b"kept", b"within"),)


@pytest.mark.parametrize("block", [b"\x82" * 9000, indexed(b"a", b"b" * 3000) * 25], ids=["entries", "bytes"])
def test_a_block_that_is_far_too_long_is_not_read_to_its_end(block: bytes) -> None:
    with pytest.raises(BadBlock, match="far more"):
        Decoder().headers(block)
