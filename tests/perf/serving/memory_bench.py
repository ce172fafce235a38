"""Does a server's memory grow with what it has answered? `python -m tests.perf.serving.memory_bench [--requests
200000]`.

One server, and mixed requests from a few clients that keep their connections for a while: binary tensors and JSON,
plain and compressed, one row and many, gRPC, metadata and figures, and what is refused. Its resident memory is read
after the first 2,000, when every path has been warm, and after them all: it may have grown by a tenth.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil

from tests.conformance.server import Server
from tests.perf import machine
from tests.unit.serve import onnx_models
from workloads.serve.protocol import open_inference_pb2 as pb

WIDTH, CLIENTS, FIRST, ALLOWED = 8, 8, 2_000, 1.10
# Requests over one connection: new ones and ended ones are part of the mixture.
PER_CONNECTION = 50
SETTLE_SECONDS = 1.0


class Ask(NamedTuple):
    """A request by HTTP, and the status that it deserves."""

    kind: str
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    status: int


def _row(dice: random.Random) -> list[float]:
    return [dice.random() for _ in range(WIDTH)]


def _document(rows: list[list[float]], *, binary: bool = False) -> bytes:
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0])]}
    if binary:
        tensor["parameters"] = {"binary_data_size": 4 * WIDTH * len(rows)}
    else:
        tensor["data"] = [value for row in rows for value in row]
    return json.dumps({"inputs": [tensor]}).encode()


def _binary(rows: list[list[float]], infer: str) -> Ask:
    head = _document(rows, binary=True)
    body = head + b"".join(struct.pack(f"<{WIDTH}f", *row) for row in rows)
    return Ask("binary", "POST", infer, body, {"Inference-Header-Content-Length": str(len(head))}, 200)


def ask(server: Server, dice: random.Random) -> Ask:
    """One of the mixture: of nine, four are answered with tensors, and three refused."""
    model, rows = f"/v2/models/{server.name}", [_row(dice) for _ in range(dice.choice([1, 1, 1, 4, 32]))]
    infer, narrow = f"{model}/infer", [row[:-1] for row in rows]
    made = (
        _binary(rows, infer),
        _binary(rows, infer),
        Ask("JSON", "POST", infer, _document(rows), {}, 200),
        Ask("gzip", "POST", infer, gzip.compress(_document(rows)), {"Content-Encoding": "gzip"}, 200),
        Ask("metadata", "GET", model, b"", {}, 200),
        Ask("metrics", "GET", "/metrics", b"", {}, 200),
        Ask("no JSON", "POST", infer, b'{"inputs": [' + str(dice.random()).encode(), {}, 400),
        Ask("no path", "GET", f"/v2/models/m{dice.randrange(10**9)}", b"", {}, 404),
        Ask("shape", "POST", infer, _document(narrow), {}, 400),
    )
    return dice.choice(made)


def send(server: Server, seed: int, count: int) -> Counter[str]:
    """So many requests from one client, each checked; how many there were of each kind."""
    dice, seen = random.Random(seed), Counter[str]()
    address = f"127.0.0.1:{server.grpc_port}"
    while (left := count - seen.total()) > 0:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for _ in range(min(PER_CONNECTION, left) - 1):
            one = ask(server, dice)
            connection.request(one.method, one.path, one.body, one.headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == one.status, (one.kind, answer.status, text[:500])
            seen[one.kind] += 1
        connection.close()
        with grpc.insecure_channel(address) as channel:
            _call(channel, server.name, _row(dice))
        seen["gRPC"] += 1
    return seen


def _call(channel: grpc.Channel, model: str, row: list[float]) -> None:
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, WIDTH])
    request.raw_input_contents.append(struct.pack(f"<{WIDTH}f", *row))
    assert call(request, timeout=60).outputs


def rss_mib(server: Server) -> float:
    """Of the server and what it has started, a moment after the last answer."""
    time.sleep(SETTLE_SECONDS)
    process = psutil.Process(server.process.pid)
    return sum(machine.rss_mib(one.pid) for one in (process, *process.children(recursive=True)))


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A small network on one thread."""
    path = onnx_models.mlp(folder / "mlp.onnx", (WIDTH, 16, 3))
    server = Server(folder / "log", "--model", str(path), "--threads", "1", "--engine", "onnxruntime").wait()
    try:
        yield server
    finally:
        server.stop()


def grown(requests: int) -> dict[str, Any]:
    """Memory after the first requests and after all of them, in MiB, and how often each kind was asked."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, ThreadPoolExecutor(CLIENTS) as pool:

        def burst(seed: int, count: int) -> Counter[str]:
            return sum(pool.map(lambda n: send(server, seed + n, count // CLIENTS), range(CLIENTS)), Counter[str]())

        seen = burst(0, FIRST)
        first = rss_mib(server)
        seen += burst(CLIENTS, requests - FIRST)
        last = rss_mib(server)
    return {
        "requests": seen.total(),
        "of each kind": dict(sorted(seen.items())),
        "first requests": FIRST,
        "first MiB": round(first, 1),
        "last MiB": round(last, 1),
        "ratio": round(last / first, 3),
    }


def main(arguments: list[str]) -> int:
    """Print the result, and write it where told; 1 if the memory has grown by more than it may."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.perf.serving.memory_bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about, load = machine.describe(), machine.load()
    result = {"machine": about, "load": load, "load after": None, **grown(options.requests)}
    result["load after"] = machine.load()
    print(json.dumps(result, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(result["ratio"] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
