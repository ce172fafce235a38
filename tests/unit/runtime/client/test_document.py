"""Documents of the API server: as deep as it takes them, and no deeper."""

from __future__ import annotations

import json

import pytest

from slipway.runtime.client.document import DEEPEST, parse


def test_a_document_as_deep_as_a_server_takes_it_is_read() -> None:
    body = b'{"f:a":' * (DEEPEST - 1) + b"{}" + b"}" * (DEEPEST - 1)
    document, depth = parse(body), 1
    while document:
        document, depth = document["f:a"], depth + 1
    assert depth == DEEPEST


@pytest.mark.parametrize("body", [b"[" * 2**21, b'{"a":' * 2**20, b"", b"nonsense", b"\xff", b"[1", b'{"a":1}x'])
def test_what_no_server_says_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each library's own words)
        parse(body)


def test_everything_else_is_as_any_parser_reads_it() -> None:
    document = {"a": [1, 2.5, "ü", None, True], "b": {"c": {}}}
    assert parse(json.dumps(document).encode()) == document
