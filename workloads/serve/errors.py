"""Errors that end a request: one class per cause, with its HTTP status; REST and gRPC translate here and nowhere else.

A client's fault is a 4xx. 503 means "not ready" (a load balancer then takes the pod out), so a full queue is 429.
"""
# ruff: noqa: N818  (the names are the protocol's)

import asyncio
from enum import StrEnum
from typing import ClassVar


def first_line(error: Exception) -> str:
    """First line of an error of an engine's library, without the page of text behind it."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class RequestError(Exception):
    """Ends one request. `str()` is what the client reads; `retry_after` is in whole seconds, 0: a retry cannot help."""

    status: ClassVar[int] = 500
    grpc: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "error"

    def __init__(self, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Invalid(RequestError):
    """The request is not what the protocol or the model's signature asks for."""

    status, grpc, reason = 400, "INVALID_ARGUMENT", "invalid"


class Refused(Invalid):
    """The engine itself failed on this request alone, while a known good input still runs."""

    reason = "refused"


class Unauthenticated(RequestError):
    """No key, or one that is not among the service's."""

    status, grpc, reason = 401, "UNAUTHENTICATED", "unauthenticated"


class NotFound(RequestError):
    """No such path, model or version."""

    status, grpc, reason = 404, "NOT_FOUND", "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, for another method."""

    status, grpc, reason = 405, "UNIMPLEMENTED", "method"


class TooSlow(RequestError):
    """The client was too slow with its own request."""

    status, grpc, reason = 408, "DEADLINE_EXCEEDED", "slow_client"


class TooLarge(RequestError):
    """More bytes than this server takes."""

    status, grpc, reason = 413, "INVALID_ARGUMENT", "too_large"


class UnsupportedEncoding(RequestError):
    """A content type or encoding that this server does not read."""

    status, grpc, reason = 415, "INVALID_ARGUMENT", "encoding"


class UnknownTransfer(RequestError):
    """A transfer coding that this server does not read."""

    status, grpc, reason = 501, "UNIMPLEMENTED", "encoding"


class HeadersTooLarge(RequestError):
    """More bytes of headers than this server takes."""

    status, grpc, reason = 431, "INVALID_ARGUMENT", "too_large"


class QueueFull(RequestError):
    """The queue holds all it may. Try again later."""

    status, grpc, reason = 429, "RESOURCE_EXHAUSTED", "queue_full"


class EngineFailed(RequestError):
    """The engine does not even run a known good input any more."""

    reason = "engine"


class TransformFailed(RequestError):
    """The service's own code before or after the model failed, or gave what does not fit."""

    reason = "transform"


class NotReady(RequestError):
    """The model is loading, or the server is ending."""

    status, grpc, reason = 503, "UNAVAILABLE", "not_ready"


class DeadlineExceeded(RequestError):
    """The request's time is up; it may have been waiting or running."""

    status, grpc, reason = 504, "DEADLINE_EXCEEDED", "deadline"


class ClientDeadline(DeadlineExceeded):
    """The time is up that the client itself gave, less than what the server would have taken."""

    reason = "client_deadline"


class Outcome(StrEnum):
    """Outcome of an inference, for whoever judges the model by it."""

    ANSWERED = "answered"
    FAILED = "failed"
    """By the model or the server: the client asked for nothing wrong."""
    INVALID = "invalid"
    FULL = "queue_full"
    HASTY = "client_deadline"
    GONE = "client_gone"
    UNREADY = "not_ready"


def outcome_of(error: BaseException) -> Outcome:
    """Outcome of an inference that ended with it."""
    if isinstance(error, asyncio.CancelledError):
        return Outcome.GONE
    if isinstance(error, ClientDeadline):
        return Outcome.HASTY
    if isinstance(error, QueueFull):
        return Outcome.FULL
    if isinstance(error, NotReady):
        return Outcome.UNREADY
    # An engine that fails on what the signature allows is the model's failure, whatever status its client gets.
    mine = isinstance(error, Refused) or not isinstance(error, RequestError) or error.status >= 500
    return Outcome.FAILED if mine else Outcome.INVALID
