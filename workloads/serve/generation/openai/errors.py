"""Errors in OpenAI's form: its clients show the message and choose by status, type and code."""

from typing import Any

import orjson

from workloads.serve.errors import RequestError
from workloads.serve.http import Reply

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
SERVERS = "server_error"


def document(error: RequestError) -> dict[str, Any]:
    """The object that tells an error."""
    kind = KINDS.get(error.status, "invalid_request_error" if error.status < 500 else SERVERS)
    return {"error": {"message": str(error), "type": kind, "param": None, "code": error.reason}}


def reply(error: RequestError) -> Reply:
    """The reply that tells it, with Retry-After where a retry can help."""
    headers = b"Retry-After: %d\r\n" % error.retry_after if error.retry_after else b""
    return Reply(error.status, (orjson.dumps(document(error)),), headers=headers)
