"""From an HTTP answer to a typed error, and whether it is worth trying again."""

from __future__ import annotations

import json

import pytest

from slipway.runtime.client import errors as e


def status(reason: str, message: str = "no", **details: object) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind", "retry"),
    [
        (400, status("BadRequest"), e.ApiError, False),
        (401, status("Unauthorized"), e.Unauthorized, True),
        (403, status("Forbidden", "exceeded quota"), e.Forbidden, True),
        (404, status("NotFound"), e.NotFound, True),
        (405, b"", e.ApiError, False),
        (409, status("Conflict"), e.Conflict, True),
        (409, status("AlreadyExists"), e.AlreadyExists, True),
        (410, status("Expired"), e.Gone, True),
        (413, b"<html>too large</html>", e.ApiError, False),
        (422, status("Invalid"), e.Invalid, False),
        (429, status("TooManyRequests"), e.TooManyRequests, True),
        (500, status("InternalError"), e.Unavailable, True),
        (503, b"", e.Unavailable, True),
        (504, status("Timeout"), e.Unavailable, True),
    ],
)
def test_taxonomy(code: int, body: bytes, kind: type[e.ApiError], retry: bool) -> None:
    error = e.from_answer(code, body)
    assert type(error) is kind
    assert error.status == code
    assert error.reason
    assert error.message
    assert e.retryable(error) is retry


def test_what_a_reconcile_says() -> None:
    assert e.retryable(e.Transient("A", "b"))
    assert not e.retryable(e.Terminal("A", "b"))
    assert e.retryable(KeyError("a bug"))
    assert not e.retryable(KeyboardInterrupt())
    assert isinstance(e.NotLeading(), e.Transient)


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("7", {}, 7.0),
        (None, {"retryAfterSeconds": 3}, 3.0),
        ("5", {"retryAfterSeconds": 3}, 5.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", {}, None),
        ("-1", {}, None),
        ("inf", {}, None),
        ("nan", {}, None),
        (None, {}, None),
    ],
)
def test_retry_after(header: str | None, details: dict[str, object], seconds: float | None) -> None:
    assert e.from_answer(429, status("TooManyRequests", **details), header).retry_after == seconds


def test_odd_bodies() -> None:
    assert e.from_answer(429, b'{"details": ["no", "object"]}').retry_after is None
    assert e.from_answer(502, b'["not", "a", "status"]').message == '["not", "a", "status"]'
    assert e.from_answer(502, b"\xff\xfe").message
    assert len(e.from_answer(500, b"x" * 100_000).message) == e.MESSAGE_LIMIT


def test_no_answer() -> None:
    refused = e.from_network(ConnectionRefusedError(111, "refused"))
    assert (refused.status, refused.reason) == (0, "NetworkError")
    assert "refused" in refused.message
    timeout = e.from_network(TimeoutError())
    assert (timeout.reason, timeout.message) == ("Timeout", "TimeoutError")
