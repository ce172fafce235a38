"""Check of a request's framing: its headers must say once and clearly where it ends. Pure; asked by reader.py.

The parser itself refuses what proxies have been tricked with: two lengths, a length beside chunks, bad line ends.
"""

from collections.abc import Mapping

from workloads.serve.errors import Invalid, MethodNotAllowed, UnknownTransfer
from workloads.serve.http.message import COPY

# With one value; what two of them say, no two servers read alike.
ONCE = frozenset({COPY, b"content-length", b"content-type", b"host", b"inference-header-content-length"})
# Read by the edge alone, and given on to nobody.
EDGE = frozenset(
    {
        b"access-control-request-method",
        b"authorization",
        b"origin",
        b"slipway-service",
        b"user-agent",
        b"x-api-key",
        b"x-request-id",
    }
)
KEPT = (
    ONCE | EDGE | {b"accept", b"accept-encoding", b"connection", b"content-encoding", b"expect", b"transfer-encoding"}
)
FRAMING = (b"content-length", b"transfer-encoding")
SCHEMES = (b"http://", b"https://")


def joined(name: bytes, one: bytes, other: bytes) -> bytes:
    """A header that came twice, as one list. Invalid where there can be one value only."""
    if name in ONCE:
        raise Invalid(f"the header {name.decode()} is given twice")
    return one + b", " + other


def check(headers: Mapping[bytes, bytes], version: str) -> None:
    """Invalid or UnknownTransfer in words."""
    if b"host" not in headers and version != "1.0":
        raise Invalid(
            "a request of HTTP/1.1 needs a Host header" if version == "1.1" else "this server speaks HTTP/1.1"
        )
    transfer = headers.get(b"transfer-encoding")
    if transfer is None:
        return
    if transfer.lower() != b"chunked":
        raise UnknownTransfer(
            f"Transfer-Encoding {transfer.decode(errors='replace')!r}: this server reads chunked alone; "
            "say what the body is compressed with in Content-Encoding"
        )
    if version == "1.0":
        raise Invalid("HTTP/1.0 has no Transfer-Encoding")


def waits_for_leave(headers: Mapping[bytes, bytes], version: str) -> bool:
    """The client will not send its body before it is told to."""
    return version != "1.0" and headers.get(b"expect", b"").lower() == b"100-continue"


def check_offer(method: bytes) -> None:
    """MethodNotAllowed for a client that takes this server for a proxy."""
    if method == b"CONNECT":
        raise MethodNotAllowed("CONNECT: this server is no proxy")


def without_offer(method: bytes, version: str, headers: Mapping[bytes, bytes]) -> bytes:
    """A head with the same framing, without the offer to speak another protocol (RFC 9110, 7.8: it may be ignored)."""
    lines = [b"%b / HTTP/%b" % (method, version.encode())]
    lines += [b"%b: %b" % (name, headers[name]) for name in FRAMING if name in headers]
    tokens = {token.strip().lower() for token in headers.get(b"connection", b"").split(b",")}
    lines += [b"connection: " + token for token in sorted(tokens & {b"close", b"keep-alive"})]
    return b"\r\n".join((*lines, b"", b""))


def path_of(target: bytes) -> bytes:
    """The path of a request's target, without the query; of `http://host/path` as well, as proxies are asked."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/") and path[:8].lower().startswith(SCHEMES):
        _, slash, rest = path.partition(b"://")[2].partition(b"/")
        return slash + rest if slash else b"/"
    return path


def hint(error: Exception) -> str:
    """Advice to add to a parser's error, or nothing."""
    if "PRI" in str(error):
        return " (HTTP/2 is spoken on the port for gRPC only)"
    return ""
