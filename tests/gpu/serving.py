"""Slipway's server on each engine that opens on this device: p50, p99 and requests per second of 8 connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.gpu.step import Row
from tests.ports import free_port

CONNECTIONS = 8
ON = {"cuda": ("tensorrt", "onnxruntime", "torch"), "cpu": ("onnxruntime", "openvino")}
INPUTS = 256


@contextlib.contextmanager
def served(model: Path, engine: str, device: str) -> Iterator[int]:
    """A server's port, once it is ready. RuntimeError with its last words when it ends instead."""
    port = free_port()
    command = [sys.executable, "-m", "workloads", "serve", "--model", str(model), "--engine", engine, "--name", "mlp"]
    command += ["--port", str(port), "--grpc-port", "-1", "--host", "127.0.0.1", "--max-batch-size", "32"]
    if engine == "onnxruntime" and device == "cuda":
        command += ["--provider", "CUDAExecutionProvider"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        end = time.monotonic() + 60
        while not ready(port):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read().strip().splitlines()[-1][:300])
            if time.monotonic() > end:
                raise RuntimeError("not ready after 60 s")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.communicate()


def ready(port: int) -> bool:
    """Tell whether the server says that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def load(port: int, seconds: float) -> list[float]:
    """Seconds of each answer, all connections together."""
    rows = [[0.5] * INPUTS]
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "data": rows}]})
    took: list[float] = []
    end = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.perf_counter() < end:
            started = time.perf_counter()
            connection.request("POST", "/v2/models/mlp/infer", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
            took.append(time.perf_counter() - started)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(took)


def rows(device: str, small: bool) -> list[Row]:
    """A row for each engine; one that does not open says why, and the next is tried."""
    from tests.unit.serve import onnx_models

    made: list[Row] = []
    seconds = 0.5 if small else 8.0
    with tempfile.TemporaryDirectory() as folder:
        model = onnx_models.mlp(Path(folder) / "mlp.onnx", (INPUTS, 32, 10) if small else (INPUTS, 4096, 4096, 10))
        for engine in ON[device][: 1 if small else None]:
            try:
                with served(model, engine, device) as port:
                    load(port, seconds / 4)
                    took = load(port, seconds)
            except RuntimeError as error:
                made.append({"what": engine, "ok": False, "why": str(error)})
                continue
            if not took:
                made.append({"what": engine, "ok": False, "why": "it gave no answer"})
                continue
            p50, p99 = (round(took[int(share * (len(took) - 1))] * 1000, 3) for share in (0.5, 0.99))
            made.append({"what": engine, "ok": True, "p50Ms": p50, "p99Ms": p99, "rps": round(len(took) / seconds, 1)})
    return made
