"""Messages that are nearly right: HTTP heads, bodies and pages by a grammar, and then cut, doubled and bent."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

NAMES = ("slipway_rows_in_server", "slipway_request_seconds_bucket", "slipway_outputs_total", "slipway_rejected_total")
NUMBERS = ("0", "1", "-1", "NaN", "+Inf", "1e999", "2147483648", "9" * 300, "0x10", "1_0", "", "007")
WORDS = ("", "a", "le", "\\", '"', "\n", "ü", "\0", "{", "}", ",", " ", "x" * 2000, "\ud800")
HEADERS = (
    "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Upgrade", "Content-Encoding", "Content-Type",
    "Host", "Authorization", "Cookie", "Range", "a b", ":", "X" * 300, "Trailer", "Te",
)  # fmt: skip
VALUES = (
    "0", "5", "-1", "+5", "5, 5", "99999999999999999999", "chunked", "chunked, chunked", "gzip", "identity", "close",
    "keep-alive", "100-continue", "websocket", "h2c", "application/json", "Bearer ns/u1", "Bearer", "Basic x", "\0",
    "x" * 9000, "", "bytes=0-",
)  # fmt: skip


class Grammar:
    """Seeded; use one in one thread."""

    def __init__(self, seed: int, path: str = "/") -> None:
        self.dice = random.Random(seed)
        self._path = path

    def request(self) -> bytes:
        """For the status endpoint; about a third of them are as they should be."""
        dice = self.dice
        body = self._post()
        method = dice.choice(["POST"] * 8 + ["GET", "PUT", "CONNECT", "OPTIONS", "PRI", "post", "", "P" * 99])
        target = dice.choice(
            [self._path] * 8 + ["/", "*", "http://x/", self._path + "?" + "a" * 9000, "/%00", "//", " "]
        )
        version = dice.choice(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTP", ""])
        usual = [("Host", "x"), ("Authorization", "Bearer ns/u1")]
        return self._bent(self._message(f"{method} {target} {version}", usual, body))

    def answer(self) -> bytes:
        """For whoever asks for metrics."""
        dice = self.dice
        status = dice.choice(["200 OK"] * 8 + ["204 N", "302 F", "100 C", "101 S", "500 E", "999 X", "abc", "", "200"])
        before = dice.choice([b""] * 6 + [b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\na: b\r\n\r\n" * 9, b"\r\n"])
        version = dice.choice(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/0.9", "ICY", "HTTP/1.1 HTTP/1.1"])
        return self._bent(before + self._message(f"{version} {status}", [], self.page()))

    def page(self) -> bytes:
        """A page of metrics."""
        return "".join(self._line() for _ in range(self.dice.choice([0, 1, 9, 99, 2000]))).encode(errors="replace")

    def document(self, depth: int = 4) -> object:
        """JSON, some of it such as posts and descriptions of models have."""
        dice = self.dice
        if not depth or dice.random() < 0.3:
            return dice.choice(
                [None, True, 0, -1, 1.5, 2**70, "x", "2026-01-01T00:00:00Z", "step", "loss", "", "9" * 99]
            )
        keys = ("trainerStatus", "metrics", "name", "value", "lastUpdatedTime", "progressPercentage", "x")
        many = range(dice.choice([0, 1, 2, 5]))
        if dice.random() < 0.4:
            return [self.document(depth - 1) for _ in many]
        return {dice.choice(keys): self.document(depth - 1) for _ in many}

    def _line(self) -> str:
        dice = self.dice
        labels = ",".join(f'{dice.choice(WORDS)}="{dice.choice(WORDS)}"' for _ in range(dice.choice([0, 1, 2, 9])))
        name = dice.choice([*NAMES, "foreign", "", "# HELP slipway_x", "slipway_"])
        return f"{name}{{{labels}}} {dice.choice(NUMBERS)}{dice.choice(['', ' 1', ' # {} 1'])}\n"

    def _post(self) -> bytes:
        dice = self.dice
        metric = {"name": dice.choice(["step", "loss", "", "n" * 99]), "value": dice.choice(NUMBERS)}
        status = {
            "lastUpdatedTime": "2026-01-01T00:00:00Z",
            "progressPercentage": dice.choice([0, 7, 101, -1]),
            "metrics": [metric] * dice.choice([0, 1, 300]),
        }
        said = {"trainerStatus": status} if dice.random() < 0.6 else self.document()
        return json.dumps(said).encode() if dice.random() < 0.9 else b"[" * dice.choice([9, 60_000])

    def _message(self, first: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
        dice, found = self.dice, list(headers)
        if dice.random() < 0.5:
            found.append(("Content-Length", str(len(body) + dice.choice([0] * 6 + [1, -1, 10**9]))))
        else:
            found.append(("Transfer-Encoding", "chunked"))
            body = self._chunks(body)
        for _ in range(dice.choice([0] * 4 + [1, 3, 200])):
            found.insert(dice.randrange(len(found) + 1), (dice.choice(HEADERS), dice.choice(VALUES)))
        end = dice.choice(["\r\n"] * 9 + ["\n", "\r"])
        head = end.join([first, *(f"{name}: {value}" for name, value in found), "", ""])
        return head.encode("latin-1", errors="replace") + body

    def _chunks(self, body: bytes) -> bytes:
        dice, size, parts = self.dice, self.dice.choice([1, 3, 100, 5000]), []
        for at in range(0, min(len(body), size * 3000), size):
            piece = body[at : at + size]
            length = dice.choice([f"{len(piece):x}"] * 400 + ["-1", "fffffffffffffffff", "", f"{len(piece):x};e=1"])
            parts.append(length.encode() + b"\r\n" + piece + b"\r\n")
        return b"".join(parts) + dice.choice([b"0\r\n\r\n"] * 6 + [b"0\r\na: b\r\n\r\n", b"", b"0\r\n"])

    def _bent(self, message: bytes) -> bytes:
        dice = self.dice
        ways: tuple[Callable[[bytes, int], bytes], ...] = (
            lambda m, at: m[:at],
            lambda m, at: m[:at] + m[at + dice.randrange(1, 9) :],
            lambda m, at: m[:at] + dice.randbytes(dice.choice([1, 4, 2000])) + m[at:],
            lambda m, at: m[:at] + m[max(0, at - 20) : at] * dice.choice([2, 50]) + m[at:],
            lambda m, at: m + m,
        )
        for _ in range(dice.choice([0, 0, 0, 1, 1, 3])):
            message = dice.choice(ways)(message, dice.randrange(len(message) + 1))
        return message
