"""The process from start to end: why it does not start, and that its leaving loses no request."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.conformance.server import ROOT, Server
from tests.unit.serve import onnx_models
from tests.unit.serve.artifacts import small_cnn

BODY = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [1.0] * 8}]})


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    return onnx_models.mlp(tmp_path / "mlp.onnx", (8, 16, 3))


def document(folder: Path, digest: str = "", **predictor) -> dict:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "digits", "namespace": "ml", "uid": "1"},
        "spec": {"predictor": {"model": {"from": {"trainingJob": "digits"}}, **predictor}},
        "status": {"model": {"uri": f"file://{folder}", "digest": digest, "source": "TrainingJob/digits"}},
    }


def failed(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and last line of a server that does not start."""
    server = Server(tmp_path / "failed.log", *arguments)
    code = server.process.wait(60)
    return code, server.log.read_text().strip().splitlines()[-1]


def test_the_operators_document_is_served(tmp_path: Path) -> None:
    folder, digest = small_cnn(tmp_path / "cnn")
    config = tmp_path / "service.json"
    batching = {"maxBatchSize": 4, "maxQueueDelay": "1ms", "maxQueueSize": 8, "defaultTimeout": "5s"}
    config.write_text(json.dumps(document(folder, digest, batching=batching, drain={"readinessLeadSeconds": 0})))
    server = Server(tmp_path / "log", "--config", str(config)).wait()
    try:
        metadata = server.ask("GET", "/v2/models/digits").json
        assert metadata["platform"] == "pytorch_safetensors"
        assert metadata["properties"]["digest"] == digest
        assert metadata["properties"]["max_batch_size"] == "4"
        data = [0.5] * 64
        asked = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": data}]}
        assert len(server.infer(asked).json["outputs"][0]["data"]) == 10
    finally:
        assert server.stop() == 0


def test_why_it_does_not_start_is_its_last_line(tmp_path: Path, mlp: Path) -> None:
    code, words = failed(tmp_path, "--model", str(tmp_path / "nowhere"))
    assert (code, "there is nothing at" in words) == (2, True)
    code, words = failed(tmp_path, "--model", str(mlp), "--engine", "torch")
    assert (code, words.endswith("torch needs model.safetensors, and the model has none")) == (2, True), words
    folder, _ = small_cnn(tmp_path / "cnn")
    config = tmp_path / "service.json"
    config.write_text(json.dumps(document(folder, "sha256:" + "0" * 64)))
    code, words = failed(tmp_path, "--config", str(config))
    assert (code, "expected sha256:0000" in words) == (1, True), words
    config.write_text(json.dumps(document(folder, batching={"maxBatchSize": 0})))
    code, words = failed(tmp_path, "--config", str(config))
    assert (code, "spec.predictor.batching.maxBatchSize" in words) == (2, True), words
    np.savez(tmp_path / "rows.npz", y=np.zeros((1, 4), np.float32))
    model = onnx_models.never_finite(tmp_path / "nan.onnx")
    code, words = failed(tmp_path, "--model", str(model), "--warm-up-inputs", str(tmp_path / "rows.npz"))
    assert (code, "there is no input 'x' in it" in words) == (2, True), words


def test_what_is_wrong_is_told_to_the_kubelet_without_the_log(tmp_path: Path) -> None:
    """A service's condition began with a line of the log."""
    told = tmp_path / "termination-log"
    absent = tmp_path / "nowhere"
    server = Server(tmp_path / "log", "--model", str(absent), env={"SLIPWAY_TERMINATION_LOG": str(told)})
    assert server.process.wait(60) == 2
    assert told.read_text().startswith(f"{absent}: there is nothing at ")


class Load:
    """Clients with keep-alive connections that never pause, and reconnect when they are told to."""

    def __init__(self, port: int, clients: int = 6) -> None:
        self.port = port
        self.good = 0
        self.bad: list[str] = []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._work) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.ending.is_set():
            try:
                connection.request("POST", "/v2/models/mlp/infer", BODY)
                reply = connection.getresponse()
                reply.read()
            except OSError as error:
                self.bad.append(repr(error))
                return
            if reply.status != 200:
                self.bad.append(str(reply.status))
            self.good += 1

    def stop(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()


def test_leaving_under_load_loses_nothing(tmp_path: Path, mlp: Path) -> None:
    """As a balancer does it: readiness is asked every 50 ms, and clients are taken away once it is false."""
    server = Server(tmp_path / "log", "--model", str(mlp), "--readiness-lead", "1.5").wait()
    load = Load(server.port)
    while load.good < 200:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    while server.ask("GET", "/v2/health/ready").status == 200:
        time.sleep(0.05)
    after = load.good
    time.sleep(0.5)
    load.stop()
    assert load.bad == []
    assert load.good > after, "not ready, it must still serve"
    assert server.process.wait(20) == 0
    assert "left in good order" in server.log.read_text()


def test_a_second_signal_hurries(tmp_path: Path, mlp: Path) -> None:
    server = Server(tmp_path / "log", "--model", str(mlp), "--readiness-lead", "60").wait()
    server.process.send_signal(signal.SIGTERM)
    while server.ask("GET", "/v2/health/ready").status == 200:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0


def test_told_to_leave_while_loading(tmp_path: Path) -> None:
    slow = onnx_models.mlp(tmp_path / "big.onnx", (64, 4096, 4096, 64))
    server = Server(tmp_path / "log", "--model", str(slow), "--max-batch-size", "4096")
    while "listening" not in server.log.read_text():
        time.sleep(0.005)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_engine_and_every_instance_answers_the_same(tmp_path: Path, mlp: Path, engine: str) -> None:
    pytest.importorskip(engine)
    arguments = ("--model", str(mlp), "--engine", engine, "--instances", "2", "--max-batch-size", "4")
    server = Server(tmp_path / "log", *arguments).wait()
    try:
        assert server.ask("GET", "/v2/models/mlp").json["properties"]["engine"] == engine
        x = np.random.default_rng(4).standard_normal((24, 8), dtype=np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 8]}
        asked = [{"inputs": [{**tensor, "data": row.astype(float).tolist()}]} for row in x]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(server.infer, asked))
        y = np.array([answer.json["outputs"][0]["data"] for answer in answers])
        np.testing.assert_allclose(y, onnx_models.mlp_reference(x, (8, 16, 3)), rtol=1e-3, atol=1e-4)
    finally:
        assert server.stop() == 0


def test_the_engine_can_be_built_beforehand(tmp_path: Path, mlp: Path) -> None:
    """As a Job on the GPU's node does it. tensorrt_rtx builds a portable engine where there is no GPU."""
    pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")
    cache = tmp_path / "cache"
    server = Server(tmp_path / "log", "--model", str(mlp), "--engine-cache", str(cache), "--build-only")
    assert server.process.wait(60) == 0
    key = json.loads(server.log.read_text().strip().splitlines()[-1])["engine"]["key"]
    assert sorted(path.name for path in (cache / key).iterdir()) == ["engine.json", "engine.plan"]


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys, workloads.serve.command as c; assert not {'torch', 'onnxruntime', 'grpc'} & set(sys.modules)"
    environment = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd="/")
