"""Errors, and which of them are worth another try. Raised by `kube`, judged by `controller`, shown as conditions.

Two families:

- `ApiError` and its subclasses: what the API server (or the way to it) answered to one request.
- `Transient` and `Terminal`: what a reconcile says about its whole job. Their `reason` ends up in a condition.
"""

# ruff: noqa: N818  (NotFound, Conflict, Transient are the words of the field)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

MESSAGE_LIMIT = 2048
"""Characters kept of a server's message: a webhook may answer with a whole HTML page."""

NETWORK_STATUS = 0
"""`ApiError.status` when no HTTP answer came at all: refused, reset, timed out, bad TLS."""


class ApiError(Exception):
    """One request to the API server failed.

    `status` is the HTTP code (0: no answer), `reason` the machine-readable word of the server's Status object
    ("AlreadyExists", "Conflict", ...), `retry_after` seconds the server asked for.
    """

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        self.status = status
        self.reason = reason
        self.message = message[:MESSAGE_LIMIT]
        self.retry_after = retry_after
        super().__init__(f"{status} {reason}: {self.message}")


class NotFound(ApiError):
    """404: the object, or its namespace, or the whole API is not there."""


class Conflict(ApiError):
    """409 with any reason but AlreadyExists: the resourceVersion or UID given is no longer the current one."""


class AlreadyExists(ApiError):
    """409 AlreadyExists: the name is taken, by us or by a stranger; compare the ownerReference's UID."""


class Invalid(ApiError):
    """422: the object breaks the schema, a CEL rule or an immutable field."""


class Forbidden(ApiError):
    """403: RBAC, a quota, Pod Security or another admission plugin says no."""


class Unauthorized(ApiError):
    """401: our token or certificate is not accepted (any more)."""


class Gone(ApiError):
    """410: a resourceVersion or continue token has expired."""


class TooManyRequests(ApiError):
    """429: the server sheds load; it did not act on the request."""


class Unavailable(ApiError):
    """5xx or no answer. A write may or may not have happened."""


class Transient(Exception):
    """This reconcile can't finish now; trying again later may. `retry_after` in seconds, None = the queue's backoff."""

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"{reason}: {message}")


class NotLeading(Transient):
    """A write was refused on our side because the lease is not (or no longer) ours."""

    def __init__(self) -> None:
        super().__init__("NotLeading", "this process does not hold the lease, so it must not write")


class Terminal(Exception):
    """Trying again can't help until somebody changes the resource."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}

_HOPELESS = frozenset({400, 405, 406, 413, 415, 422})
"""Codes that say the request itself is wrong: the same bytes will be refused again."""


def from_answer(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The typed error for an HTTP answer >= 400: `body` is a Status object, or whatever a proxy put there instead."""
    document = _status_object(body)
    details = document.get("details")
    details = details if isinstance(details, Mapping) else {}
    reason = str(document.get("reason") or "")
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else ApiError)
    if kind is Conflict and reason == "AlreadyExists":
        kind = AlreadyExists
    message = document.get("message") or body.decode("utf-8", "replace").strip() or f"HTTP {status}"
    seconds = _seconds(retry_after)
    if seconds is None:
        seconds = _seconds(details.get("retryAfterSeconds"))
    return kind(status, reason or kind.__name__, str(message), retry_after=seconds)


def from_network(error: BaseException) -> Unavailable:
    """The typed error for a request that got no answer."""
    reason = "Timeout" if isinstance(error, TimeoutError) else "NetworkError"
    return Unavailable(NETWORK_STATUS, reason, f"{type(error).__name__}: {error}".rstrip(": "))


def retryable(error: BaseException) -> bool:
    """Tell whether the same reconcile may succeed soon without anybody editing the resource.

    Forbidden counts as retryable: quotas free up and roles get fixed while the resource stays as it is. A bug of ours
    (any unknown exception) does too: it is most often a state that passes.
    """
    if isinstance(error, Terminal):
        return False
    if isinstance(error, ApiError):
        return error.status not in _HOPELESS
    return isinstance(error, Exception)


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, Mapping) else {}


def _seconds(value: Any) -> float | None:
    """A Retry-After in seconds; its HTTP-date form, which API servers do not send, counts as absent."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
