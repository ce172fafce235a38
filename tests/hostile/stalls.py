"""A client that tries to hold a server up: `python -m tests.hostile.stalls KIND PORT GRPC_PORT MODEL SECONDS`.

Prints how often it was answered what. It runs when nobody else wants a core (SCHED_IDLE): on a cluster it would have a
machine of its own, and what it costs the server's cores to make its requests is not what is measured.
"""

from __future__ import annotations

import collections
import gzip
import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

MIB = 1 << 20
CONNECTIONS = 8
ADDRESS = ("127.0.0.2", 0)  # another client's than the polite one's
Answers = collections.Counter[str]


def _document(data: bytes, rows: int = 1, length: int = 4) -> bytes:
    return b'{"inputs":[{"name":"x","shape":[%d,%d],"datatype":"FP32","data":[%b]}]}' % (rows, length, data)


def _filled(piece: bytes) -> bytes:
    """64 MiB of it in brackets, as 64 KiB of gzip."""
    return gzip.compress(_document(piece * (60 * MIB // len(piece)) + piece.rstrip(b",")))


def _honest() -> bytes:
    """A batch of 32 pictures of 3 x 224 x 224, as most people write it."""
    return _document(b",".join([b"0.12345678"] * (32 * 3 * 224 * 224)), 32, 3 * 224 * 224)


def _posting(body: bytes, path: str, headers: dict[str, str]) -> Callable[[int, Answers], None]:
    def attack(port: int, answers: Answers) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120, source_address=ADDRESS)
        while True:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            reply.read()
            answers[str(reply.status)] += 1

    return attack


def _stalling(path: str) -> Callable[[int, Answers], None]:
    """All but the last bytes of a body as large as one may be."""

    def attack(port: int, answers: Answers) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=120, source_address=ADDRESS) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {63 * MIB + 10}\r\n\r\n"
            connection.sendall(head.encode())
            piece = b" " * MIB
            for _ in range(63):
                connection.sendall(piece)
            said = connection.recv(64)
            answers[said.split()[1].decode() if said else "closed"] += 1

    return attack


def _calling(model: str) -> Callable[[int, Answers], None]:
    """Messages as large as one may be, many at a time."""
    import grpc

    from workloads.serve.protocol import open_inference_pb2 as pb

    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    message = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[b"\0" * (62 * MIB)])
    data = message.SerializeToString()

    def attack(port: int, answers: Answers) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
            while True:
                try:
                    call(data, timeout=60)
                    answers["OK"] += 1
                except grpc.RpcError as error:
                    answers[error.code().name] += 1

    return attack


def _binary(rows: int, length: int) -> tuple[bytes, dict[str, str]]:
    """A whole request of so many numbers, of which the last one is none."""
    tensor = {"name": "x", "shape": [rows, length], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": 4 * rows * length}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + bytes(4 * rows * length - 4) + b"\xff" * 4, {"Inference-Header-Content-Length": str(len(head))}


def _pinging(port: int, answers: Answers) -> None:
    """Frames of HTTP/2 that ask for nothing but an answer of the transport, and streams that are given up at once."""
    from workloads.serve.http2 import frames
    from workloads.serve.http2.hpack import literal

    block = b"\x83\x86\x84" + literal(b"content-type", b"application/grpc")
    with socket.create_connection(("127.0.0.1", port), timeout=120, source_address=ADDRESS) as connection:
        connection.sendall(frames.PREFACE + frames.settings({}))
        ping, first = frames.frame(frames.PING, 0, 0, bytes(8)), 1
        while True:
            data = ping * 1000
            for stream in range(first, first + 200, 2):
                data += frames.frame(frames.HEADERS, 5, stream, block) + frames.reset(stream, frames.Code.CANCEL)
            first += 200
            connection.sendall(data)
            answers["sent"] += 1


def attack_of(kind: str, model: str) -> tuple[Callable[[int, Answers], None], int]:
    """What one of its threads does, and how many there are."""
    infer = f"/v2/models/{model}/infer"
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    if kind.startswith("picture"):
        from tests.unit.serve.web.test_decoding import flat_png

        side = int(kind.split()[1])
        return _posting(flat_png(side, side), "/predict", {"Content-Type": "image/png"}), CONNECTIONS
    if kind in {"grpc", "pings"}:
        return (_calling(model), 30) if kind == "grpc" else (_pinging, CONNECTIONS)
    if kind == "stalled":
        return _stalling(infer), CONNECTIONS
    if kind in {"binary", "honest"}:
        body, headers = _binary(32, 500_000) if kind == "binary" else (_honest(), {"Content-Type": "application/json"})
        return _posting(body, infer, headers), CONNECTIONS if kind == "binary" else 1
    piece = {"brackets": b"[],", "objects": b"{},", "texts": b'"a",', "deep": b"[[[[1]]]],"}[kind]
    return _posting(_filled(piece), infer, packed), CONNECTIONS


def main(kind: str, port: int, grpc_port: int, model: str, seconds: float) -> None:
    answers: Answers = collections.Counter()
    attack, threads = attack_of(kind, model)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    def forever() -> None:
        while True:
            try:
                attack(grpc_port if kind in {"grpc", "pings"} else port, answers)
            except (OSError, http.client.HTTPException):
                answers["cut off"] += 1

    for _ in range(threads):
        threading.Thread(target=forever, daemon=True).start()
    time.sleep(seconds)
    sys.stdout.write(json.dumps(answers) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
