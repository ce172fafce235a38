"""A real Triton Inference Server, from the PyPI package nvidia-pytriton: oracle of the protocol and peer in benchmarks.

It needs an older numpy, so it lives in an environment of its own (tests/conformance/environments.py). It has the Python
backend only; its models run ONNX files by onnxruntime in Triton's stub process. Triton's own ONNX Runtime backend comes
from a folder, where somebody has built it (tests/perf/peers/triton_onnxruntime.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.ports import free_port

START_SECONDS = 120
STUB = "triton_python_backend_stub"

MODEL = """
import sys
sys.path.insert(0, {site!r})
import json
import numpy as np
import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession({onnx!r}, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def execute(self, requests):
        tensor = utils.get_input_tensor_by_name
        parts = [[tensor(request, name).as_numpy() for name in self.inputs] for request in requests]
        feeds = {{name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(self.inputs)}}
        results = self.session.run(self.outputs, feeds)
        responses, start = [], 0
        for part in parts:
            end = start + len(part[0])
            tensors = [utils.Tensor(name, result[start:end]) for name, result in zip(self.outputs, results)]
            responses.append(utils.InferenceResponse(tensors))
            start = end
        return responses
"""


class Model:
    """Name, ONNX file, and tensors as (name, Triton's type, dims without the batch)."""

    def __init__(self, name: str, onnx: Path, inputs, outputs, batch: int = 32, delay_us: int = 0) -> None:
        self.own_backend = False  # Triton's own for ONNX Runtime, instead of a program for the Python backend
        self.name, self.onnx, self.inputs, self.outputs, self.batch, self.delay_us = (
            name,
            onnx,
            inputs,
            outputs,
            batch,
            delay_us,
        )

    def write(self, repository: Path, site: str) -> None:
        folder = repository / self.name / "1"
        folder.mkdir(parents=True)
        if self.own_backend:
            shutil.copy(self.onnx, folder / "model.onnx")
        else:
            (folder / "model.py").write_text(MODEL.format(site=site, onnx=str(self.onnx)))
        backend = "onnxruntime" if self.own_backend else "python"
        lines = [f'name: "{self.name}"', f'backend: "{backend}"', f"max_batch_size: {self.batch}"]
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            for name, datatype, dims in tensors:
                lines.append(f'{kind} [ {{ name: "{name}" data_type: TYPE_{datatype} dims: {list(dims)} }} ]')
        lines += [
            f"dynamic_batching {{ max_queue_delay_microseconds: {self.delay_us} }}",
            "instance_group [ { kind: KIND_CPU count: 1 } ]",
        ]
        if self.own_backend:
            lines += [
                f'parameters {{ key: "{kind}_op_thread_count" value: {{ string_value: "1" }} }}'
                for kind in ("intra", "inter")
            ]
        (folder.parent / "config.pbtxt").write_text("\n".join(lines) + "\n")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Triton:
    """One server process with these models."""

    def __init__(self, python: str, folder: Path, models: list[Model], onnx_backend: str = "") -> None:
        """`onnx_backend`: the folder of Triton's own backend for ONNX Runtime, for models that ask for it."""
        site = _output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        prefix = _output(python, "-c", "import sys; print(sys.base_prefix)")
        libraries = _output(python, "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))")
        packed = Path(site) / "pytriton" / "tritonserver"
        backends = folder / "backends"
        shutil.copytree(packed / "backends", backends)
        stub = backends / "python" / STUB
        shutil.copy(packed / "python_backend_stubs" / "3.11" / STUB, stub)
        server = folder / "tritonserver"
        shutil.copy(packed / "bin" / "tritonserver", server)
        for program in (stub, server):
            program.chmod(0o755)
        if onnx_backend:
            shutil.copytree(onnx_backend, backends / "onnxruntime")
        repository = folder / "models"
        for model in models:
            model.own_backend = bool(onnx_backend)
            model.write(repository, site)
        self.port, self.grpc_port = free_port(), free_port()
        self.log = folder / "log"
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{Path(site) / 'nvidia_pytriton.libs'}:{libraries}",
            "PYTHONHOME": prefix,
        }
        environment.pop("PYTHONPATH", None)
        command = [
            str(server),
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            f"--http-port={self.port}",
            f"--grpc-port={self.grpc_port}",
            "--allow-metrics=false",
            "--log-warning=false",
        ]
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)

    def wait(self) -> Triton:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready", timeout=1):
                    return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"Triton did not get ready:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
