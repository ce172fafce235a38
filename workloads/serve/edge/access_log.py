"""One line of JSON for a request, on the standard output. Called by edge.py and grpc/edge.py once its reply is made.

No header's value but the request's id and the client's program is in it: keys never are, nor is the query.
"""

import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import orjson

from workloads.serve.edge.lines import Lines, to_output
from workloads.serve.http import Reply, Request, Stream

LONGEST = 512
# Of an inference; the last two where the service has own code.
TIMES = ("queueSeconds", "computeSeconds", "preprocessSeconds", "postprocessSeconds")
# The server's own faults over gRPC, as statuses from 500 on are over HTTP.
FAULTS = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"})


class AccessLog:
    """Log of requests: `percent` of the requests; of those that failed by the server's fault, all."""

    def __init__(self, percent: int, write: Callable[[bytes], None] | None = None) -> None:
        self._share = percent / 100
        self._lines = Lines() if write is None else None
        self._write = write or self._lines or to_output

    def close(self) -> None:
        """Write what is not written yet."""
        if self._lines is not None:
            self._lines.close()

    def request(self, request: Request, reply: Reply, name: bytes, seconds: float) -> None:
        """One over HTTP was answered after so many seconds."""
        if self._left_out(reply.status >= 500):
            return
        line = {
            "time": time.time(),
            "protocol": "http",
            "requestId": _text(name),
            "client": request.sender.peer if request.sender is not None else "",
            "method": _text(request.method),
            "path": _text(request.path),
            "status": reply.status,
            "requestBytes": request.size,
            "replyBytes": reply.size if isinstance(reply, Stream) else sum(map(len, reply.body)),
            "seconds": round(seconds, 6),
            "userAgent": _text(request.headers.get(b"user-agent", b"")),
        }
        if reply.timing is not None:
            line |= {name: round(one, 6) for name, one in zip(TIMES, reply.timing, strict=False)}
        self._say(line)

    def call(self, peer: str, method: str, code: str, name: str, seconds: float) -> None:
        """One over gRPC."""
        if self._left_out(code in FAULTS):
            return
        client = unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
        line = {"time": time.time(), "protocol": "grpc", "requestId": name, "client": client, "path": method[:LONGEST]}
        self._say(line | {"status": code, "seconds": round(seconds, 6)})

    def _left_out(self, fault: bool) -> bool:
        return not fault and not random.random() < self._share  # noqa: S311  (a sample, no secret)

    def _say(self, line: dict[str, Any]) -> None:
        self._write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _text(value: bytes) -> str:
    return value[:LONGEST].decode(errors="replace")
