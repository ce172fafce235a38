"""HTTP/1.1 and gRPC as the proxy needs them: signs of a request, refusals, greetings that keep a client. Pure.

A gRPC client gives a connection up when it has heard nothing for twenty seconds (its connect timeout), whatever the
deadline of its call is. So one that is held gets the server's first word, an empty SETTINGS frame, which leaves all at
RFC 9113's defaults; the replica's own SETTINGS come later, as they may at any time. The client acknowledges both, and
the replica may hear of one only.
"""

import json
from typing import Protocol

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME = 9
HANDSHAKE = b"\x16"  # the first byte of TLS, and of nothing else that is spoken here
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
ACKNOWLEDGED = bytes((0, 0, 0, 4, 1, 0, 0, 0, 0))


# Frames that belong to a request; the others are between the two ends of a connection.
ASKING = frozenset({0, 1, 9})


class RequestDetector(Protocol):
    """Listener to one connection: hears requests in what the client sends, piece by piece."""

    def asks(self, data: bytes) -> bool:
        """Tell whether `data`, the next piece, holds some of a request."""


def sealed(said: bytes) -> bool:
    """Tell whether a client speaks TLS: the replica alone understands it, and the proxy cannot answer it in words."""
    return said[:1] == HANDSHAKE


class AnyBytes:
    """Everything that a client of HTTP/1.1 sends is part of a request."""

    def asks(self, data: bytes) -> bool:
        """True for any bytes."""
        return True


class Http2Frames:
    """HTTP/2: settings, pings and windows are sent by a channel that only stands there.

    By TLS nobody can tell: a replica has to answer the handshake, so all of it counts.
    """

    def __init__(self) -> None:
        self._sealed: bool | None = None
        self._head = b""
        self._skip = len(PREFACE)

    def asks(self, data: bytes) -> bool:
        """Walk over the heads of the frames."""
        if self._sealed is None:
            self._sealed = sealed(data)
        if self._sealed:
            return True
        at, asked = 0, False
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip, at = self._skip - step, at + step
                continue
            take = data[at : at + FRAME - len(self._head)]
            self._head, at = self._head + take, at + len(take)
            if len(self._head) == FRAME:
                asked = asked or self._head[3] in ASKING
                self._skip, self._head = int.from_bytes(self._head[:3], "big"), b""
        return asked


class WireProtocol(Protocol):
    """Protocol of one port."""

    def detector(self) -> RequestDetector:
        """Listener for a new connection."""

    def excuse(self, status: int, words: str) -> bytes:
        """Bytes to send to a client that is not served."""

    def greeting(self, said: bytes) -> bytes:
        """Bytes to send to a client that is held, after its first words `said`; none where it can wait without."""

    def settle(self, said: bytearray) -> bool:
        """Take the answer to the greeting out of what the client has said; False when it has not come yet."""


class Http:
    """HTTP/1.1: refused in the Open Inference Protocol's format, and as patient as its client is."""

    def detector(self) -> RequestDetector:
        """Listener that takes all bytes for parts of a request."""
        return AnyBytes()

    def excuse(self, status: int, words: str) -> bytes:
        """Error response, with the seconds until another try in Retry-After."""
        body = json.dumps({"error": words}).encode()
        phrase = {429: "Too Many Requests", 503: "Service Unavailable"}[status]
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Retry-After: 5\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    def greeting(self, said: bytes) -> bytes:
        """No bytes: a client of HTTP/1.1 waits without a greeting."""
        return b""

    def settle(self, said: bytearray) -> bool:
        """True: there is no answer to wait for."""
        return True


class Grpc:
    """HTTP/2 with prior knowledge. A client whose connection closes reports UNAVAILABLE, which is meant."""

    def detector(self) -> RequestDetector:
        """Listener that hears requests, not connections."""
        return Http2Frames()

    def excuse(self, status: int, words: str) -> bytes:
        """No bytes: the client reports UNAVAILABLE when its connection closes."""
        return b""

    def greeting(self, said: bytes) -> bytes:
        """Empty SETTINGS frame; nothing to a client that speaks something else."""
        return SETTINGS if said.startswith(PREFACE) else b""

    def settle(self, said: bytearray) -> bool:
        """Walk over the frames that are there."""
        at = len(PREFACE)
        while at + FRAME <= len(said):
            if said[at : at + FRAME] == ACKNOWLEDGED:
                del said[at : at + FRAME]
                return True
            at += FRAME + int.from_bytes(said[at : at + 3], "big")
        return False
