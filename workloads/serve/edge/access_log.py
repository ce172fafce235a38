"""One line of JSON for a request, on the standard output. Called by edge.py once its reply is made.

No header's value but the request's id and the client's program is in it: keys never are, nor is the query.
"""

import random
import sys
import time
from collections.abc import Callable

import orjson

from workloads.serve.http import Reply, Request

LONGEST = 512


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class AccessLog:
    """`percent` of the requests; of those that failed by the server's fault, all."""

    def __init__(self, percent: int, write: Callable[[bytes], None] = _write) -> None:
        self._share = percent / 100
        self._write = write

    def request(self, request: Request, reply: Reply, name: bytes, seconds: float) -> None:
        """It was answered after so many seconds."""
        if reply.status < 500 and not random.random() < self._share:  # noqa: S311  (a sample, no secret)
            return
        line = {
            "time": time.time(),
            "requestId": _text(name),
            "client": request.sender.peer if request.sender is not None else "",
            "method": _text(request.method),
            "path": _text(request.path),
            "status": reply.status,
            "requestBytes": request.size,
            "replyBytes": sum(map(len, reply.body)),
            "seconds": round(seconds, 6),
            "userAgent": _text(request.headers.get(b"user-agent", b"")),
        }
        if reply.timing is not None:
            line |= {"queueSeconds": round(reply.timing[0], 6), "computeSeconds": round(reply.timing[1], 6)}
        self._write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _text(value: bytes) -> str:
    return value[:LONGEST].decode(errors="replace")
