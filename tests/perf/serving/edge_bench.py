"""What a request pays for keys, origins, ids and the log: CPU with and without them, side by side in one process.

`python -m tests.perf.serving.edge_bench --out tests/perf/results/edge.json`. The same bytes go to the server's own
connections over a transport that only counts, so that no socket and no client are in the figures. Ways take turns, in
many short rounds; each figure is the least of its rounds, because whatever else the machine does can only add to it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from slipway.api.serving.edge import Cors
from tests.perf import machine
from tests.unit.serve.serving import serving
from workloads.serve.edge import Edge
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.http import HttpLimits, HttpServer, framing
from workloads.serve.http.connection import Connection
from workloads.serve.http.message import Handle
from workloads.serve.settings import EdgeChoice

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}).encode()
HEAD = (
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: digits.team.svc\r\nUser-Agent: python-requests/2.32\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
)
PLAIN = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
ASKING = HEAD + b"X-Api-Key: key\r\nOrigin: https://app.example.com\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
WITHOUT = "without"


class Sink(asyncio.Transport):
    """Takes replies and wakes who waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()

    def write(self, data: Any) -> None:
        self.came.set()

    def writelines(self, lines: Any) -> None:
        self.came.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


async def seconds_of(handle: Handle, content: bytes, requests: int) -> float:
    """CPU time of the whole process for so many requests on one connection, one after the other."""
    connection, sink = Connection(HttpServer(handle, HttpLimits())), Sink()
    connection.connection_made(sink)
    started = time.process_time()
    for _ in range(requests):
        sink.came.clear()
        connection.data_received(content)
        await sink.came.wait()
    spent = time.process_time() - started
    connection.connection_lost(None)
    return spent


async def measure(rounds: int, requests: int) -> dict[str, Any]:
    """Microseconds a request, by way."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "key").write_text("key")
        everything = EdgeChoice(True, True, Cors(allowOrigins=["https://app.example.com"]), Path(folder), 100)
        async with serving() as server:
            app, kept = server.app, framing.KEPT
            ways: dict[str, tuple[Handle, bytes, frozenset[bytes]]] = {
                WITHOUT: (app, PLAIN, kept - framing.EDGE),
                "nothing asked for": (Edge(app, EdgeChoice()), PLAIN, kept),
                "everything": (Edge(app, everything, AccessLog(100, lambda line: None)), ASKING, kept),
            }
            spent: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds + 1):
                for way, (handle, content, headers) in ways.items():
                    framing.KEPT = headers
                    took = await seconds_of(handle, content, requests)
                    if number:  # the first one warms up
                        spent[way].append(took / requests * 1e6)
            framing.KEPT = kept
    return {
        way: {
            "microseconds": round(min(took), 2),
            "ratio": round(min(took) / min(spent[WITHOUT]), 3),
        }
        for way, took in spent.items()
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.serving.edge_bench")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about, before = machine.describe(), machine.load()
    rows = asyncio.run(measure(options.rounds, options.requests))
    machine.write({"machine": about, "load": [before, machine.load()], "rows": rows}, options.out)
    return 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
