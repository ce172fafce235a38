"""Answers to browsers' pages of other origins (CORS, the Fetch standard). Pure; asked by edge.py."""

from collections.abc import Mapping

from slipway.api.serving.edge import Cors
from workloads.serve.http import Reply, Request

ANY = "*"
PREFLIGHT = 204  # no other reply has this status
METHODS = ("GET", "POST")
READ = (
    "Accept", "Authorization", "Content-Encoding", "Content-Type", "Inference-Header-Content-Length", "X-Api-Key",
    "X-Request-Id",
)  # fmt: skip
WRITTEN = ("Inference-Header-Content-Length", "Retry-After", "Server-Timing", "Slipway-Truncated-Texts", "X-Request-Id")


class Origins:
    """Origins of one service."""

    def __init__(self, cors: Cors) -> None:
        self._known = {origin.rstrip("/").lower().encode() for origin in cors.allow_origins}
        self._any = ANY in cors.allow_origins
        credentials = b"Access-Control-Allow-Credentials: true\r\n" if cors.allow_credentials else b""
        self._exposed = _line("Access-Control-Expose-Headers", cors.expose_headers or WRITTEN) + credentials
        self._preflight = (
            _line("Access-Control-Allow-Methods", cors.allow_methods or METHODS)
            + _line("Access-Control-Allow-Headers", cors.allow_headers or READ)
            + b"Access-Control-Max-Age: %d\r\n" % cors.max_age
            + credentials
        )

    def preflight(self, request: Request) -> Reply | None:
        """The answer to a browser that asks before it asks; None for any other request."""
        asked = request.headers
        if request.method != b"OPTIONS" or b"origin" not in asked or b"access-control-request-method" not in asked:
            return None
        allowed = self._origin(asked)
        return Reply(PREFLIGHT, headers=allowed + (self._preflight if b"Allow-Origin" in allowed else b""))

    def headers(self, asked: Mapping[bytes, bytes]) -> bytes:
        """Lines for the answer to a request with these headers. A cache must know that they differ by origin."""
        allowed = self._origin(asked)
        return allowed + (self._exposed if b"Allow-Origin" in allowed else b"")

    def _origin(self, asked: Mapping[bytes, bytes]) -> bytes:
        if self._any:
            return b"Access-Control-Allow-Origin: *\r\n"
        origin = asked.get(b"origin", b"")
        if origin.lower() in self._known:
            return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n" % origin
        return b"Vary: Origin\r\n"


def _line(name: str, values: "tuple[str, ...] | list[str]") -> bytes:
    return f"{name}: {', '.join(values)}\r\n".encode()
