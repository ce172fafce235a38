"""The real server behind the activator: it starts after the first requests have come, and none of them notices."""

from __future__ import annotations

import asyncio
import http.client
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.conformance import environments
from tests.conformance.server import ROOT, Server
from tests.unit.activator.crowd import free_port
from tests.unit.serve import onnx_models
from workloads.activator.backend import Backend
from workloads.activator.proxy import Limits, Proxy
from workloads.activator.request_tracker import RequestTracker
from workloads.activator.wire_protocol import Http

BODY = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [1.0] * 8}]})
READY = re.compile(r"ready: HTTP (\d+), gRPC (\d+), control (\d+)")
CLIENTS = 200


class Activator:
    """`python -m workloads activate` in front of ports where a server will be."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        self.http, self.grpc = free_port(), free_port()
        ports = ["--backend-http", str(self.http), "--backend-grpc", str(self.grpc), "--host", "127.0.0.1"]
        ports += ["--http-port", "0", "--grpc-port", "0", "--control-port", "0", "--lead", "0"]
        command = [sys.executable, "-m", "workloads", "activate", "--backend", "127.0.0.1", *ports, *arguments]
        environment = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
        with log.open("wb") as sink:
            self.process = subprocess.Popen(command, stderr=sink, env=environment, cwd="/")
        self.port, self.grpc_port, self.control = map(int, self.until(READY).groups())

    def until(self, pattern: re.Pattern[str]) -> re.Match[str]:
        end = time.monotonic() + 90
        while (found := pattern.search(self.log.read_text())) is None:
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.01)
        return found

    def figure(self, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return float(re.findall(rf"^slipway_activator_{name} (\S+)$", text, re.MULTILINE)[0])

    def until_held(self, count: int) -> None:
        end = time.monotonic() + 90
        while self.figure("held") < count:
            assert time.monotonic() < end, self.figure("held")
            time.sleep(0.02)

    def ask(self, requests: int = 1) -> list[int]:
        """The statuses of requests on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        statuses = []
        for _ in range(requests):
            connection.request("POST", "/v2/models/mlp/infer", BODY)
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()
        return statuses


@pytest.fixture
def activator(tmp_path: Path) -> Iterator[Activator]:
    it = Activator(tmp_path / "activator.log")
    yield it
    it.process.terminate()
    assert it.process.wait(20) == 0, it.log.read_text()


@contextmanager
def behind(it: Activator, path: Path, log: Path) -> Iterator[Server]:
    """The server that the activator waits for: as behind a Service, nobody reaches it before it is ready."""
    server = Server(log, "--model", str(path), "--threads", "1", "--engine", "onnxruntime").wait()
    over: Future[None] = Future()
    led = threading.Thread(target=lambda: asyncio.run(_lead(it, server, over)))
    led.start()
    try:
        yield server
    finally:
        over.set_result(None)
        led.join()
        assert server.stop() == 0


async def _lead(it: Activator, server: Server, over: Future[None]) -> None:
    """As kube-proxy does it, once the pod is in the Service's endpoints."""
    ways = [(it.http, server.port), (it.grpc, server.grpc_port)]
    proxies = [Proxy(Backend("127.0.0.1", to), RequestTracker(), Limits(20), Http()) for _, to in ways]
    for proxy, (port, _) in zip(proxies, ways, strict=True):
        await proxy.start("127.0.0.1", port)
    await asyncio.wrap_future(over)
    await asyncio.gather(*(proxy.close(1) for proxy in proxies))


def test_two_hundred_requests_before_the_first_replica_are_all_answered(activator: Activator, tmp_path: Path) -> None:
    model = onnx_models.mlp(tmp_path / "mlp.onnx", (8, 16, 3))
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(activator.ask, 3) for _ in range(CLIENTS)]
        activator.until_held(CLIENTS)
        with behind(activator, model, tmp_path / "server.log"):
            assert [status for one in asked for status in one.result(60)] == [200] * 3 * CLIENTS
    assert activator.figure("forwarded_total") == CLIENTS


def test_a_grpc_client_waits_for_longer_than_its_connect_timeout(activator: Activator, tmp_path: Path) -> None:
    """Without a word from the server it would report UNAVAILABLE after that time, whatever its call's deadline is."""
    grpc = pytest.importorskip("grpc")
    # Sets the connect timeout as well, which is twenty seconds otherwise.
    with grpc.insecure_channel(
        f"127.0.0.1:{activator.grpc_port}", [("grpc.min_reconnect_backoff_ms", 2000)]
    ) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        calls = [live.future(b"", timeout=60) for _ in range(20)]
        activator.until_held(1)
        time.sleep(4)  # nothing happens, which is the point
        assert not any(call.done() for call in calls)
        with behind(activator, onnx_models.add_sub(tmp_path / "simple.onnx"), tmp_path / "server.log"):
            assert {call.result() for call in calls} == {b"\x08\x01"}
            assert live(b"", timeout=10) == b"\x08\x01"
            assert activator.figure("forwarded_total") == 1


def test_the_unmodified_triton_client_notices_nothing(activator: Activator, tmp_path: Path) -> None:
    """REST, binary tensors and gRPC go through it as they are, from the first request on, which had to wait."""
    python, trouble = environments.client()
    if not python:
        pytest.skip(f"tritonclient cannot be installed here: {trouble}")
    first = """
import sys, numpy as np, tritonclient.grpc as t
client = t.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
tensors = [t.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
for tensor in tensors: tensor.set_data_from_numpy(np.ones((1, 16), np.int32))
print(client.infer("simple", tensors).as_numpy("OUTPUT0").sum())
"""
    early = subprocess.Popen([python, "-c", first, str(activator.grpc_port)], stdout=subprocess.PIPE, text=True)
    activator.until_held(1)
    with behind(activator, onnx_models.add_sub(tmp_path / "simple.onnx"), tmp_path / "server.log"):
        assert early.communicate(timeout=60)[0] == "32\n"
        script = Path(__file__).parent / "nvidia" / "triton_client.py"
        ports = [str(activator.port), str(activator.grpc_port)]
        done = subprocess.run([python, str(script), *ports], check=False, capture_output=True, text=True, timeout=120)
        assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
