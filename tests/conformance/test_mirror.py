"""Copies between real servers: the other one sees what this one is asked, and its troubles are its own."""

from __future__ import annotations

import json
import re
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.server import Server
from tests.conformance.test_grpc import call
from tests.conformance.test_grpc import pair as grpc_pair
from tests.unit.serve import onnx_models
from workloads.serve.mirror import COPY_SECONDS

ROW = {"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [[0.5] * 8]}]}
PATIENCE_SECONDS = 120


def counted(server: Server, name: str) -> int:
    found = re.findall(rf"^{re.escape(name)} ([0-9.e+]+)$", server.ask("GET", "/metrics").body.decode(), re.MULTILINE)
    return int(float(found[0])) if found else 0


def until(holds) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def median(server: Server, requests: int) -> float:
    """Seconds; every answer has to be the right one."""
    right, times = server.infer(ROW).json["outputs"], []
    for _ in range(requests):
        began = time.perf_counter()
        answer = server.infer(ROW)
        times.append(time.perf_counter() - began)
        assert (answer.status, answer.json["outputs"]) == (200, right)
    return statistics.median(times)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server, Path]]:
    """The server that copies, the one that gets copies, and the file that says so."""
    model, place = onnx_models.mlp(tmp_path / "mlp.onnx", (8, 16, 3)), tmp_path / "mirror.json"
    options = ("--model", str(model), "--threads", "1", "--engine", "onnxruntime")
    servers = [
        Server(tmp_path / "serving.log", *options, "--mirror", str(place)),
        Server(tmp_path / "canary.log", *options),
    ]
    try:
        yield (*(server.wait() for server in servers), place)  # type: ignore[misc]
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.process.kill()
            server.process.wait()


def test_whatever_becomes_of_the_other_server_this_one_answers_as_before(pair: tuple[Server, Server, Path]) -> None:
    serving, canary, place = pair
    alone = median(serving, 200)
    place.write_text(json.dumps({"url": f"http://127.0.0.1:{canary.port}", "percent": 100}))
    until(lambda: "copies of requests: Target" in serving.log.read_text())
    for _ in range(50):
        assert serving.infer(ROW).status == 200
    assert serving.infer({"inputs": []}).status == 400
    until(lambda: counted(serving, 'slipway_copies_total{outcome="sent"}') == 51)
    assert counted(canary, "slipway_request_seconds_count") == 50
    assert counted(canary, 'slipway_replies_total{code="400",protocol="http"}') == 1, "bad ones are compared as well"
    canary.process.send_signal(signal.SIGSTOP)
    hanging = median(serving, 200)
    assert counted(serving, 'slipway_copies_total{outcome="dropped"}') > 100
    # A request that waited for its copy would take COPY_SECONDS; what else the machine does is far from that.
    assert hanging < 2 * alone + COPY_SECONDS / 50, f"{hanging:.4f} s beside one that hangs, {alone:.4f} s alone"
    canary.process.kill()
    median(serving, 50)
    until(lambda: counted(serving, 'slipway_copies_total{outcome="failed"}') >= 32)
    place.unlink()
    until(lambda: "copies of requests: none" in serving.log.read_text())


def test_what_came_over_grpc_is_copied_as_well(pair: tuple[Server, Server, Path]) -> None:
    serving, canary, place = pair
    place.write_text(json.dumps({"url": f"http://127.0.0.1:{canary.port}", "percent": 50}))
    until(lambda: "copies of requests: Target" in serving.log.read_text())
    for _ in range(20):
        call(serving, "ModelInfer", grpc_pair("mlp", "FP32", (1, 8), raw=[np.full(8, 0.5, "<f4").tobytes()]))
    until(lambda: counted(serving, 'slipway_copies_total{outcome="sent"}') == 10)
    assert counted(canary, "slipway_request_seconds_count") == 10
    assert counted(canary, 'slipway_replies_total{code="200",protocol="http"}') >= 10


def test_a_file_that_makes_no_sense_is_told_and_harms_nothing(pair: tuple[Server, Server, Path]) -> None:
    serving, _, place = pair
    place.write_text('{"url": "ftp://elsewhere"}')
    until(lambda: "is not followed: it needs a url and a percent" in serving.log.read_text())
    assert serving.infer(ROW).status == 200
