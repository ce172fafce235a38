"""Servers that the suite asks: one per model, started once."""

from __future__ import annotations

import pytest
from onnx import TensorProto as T

from tests.conformance.server import Server
from tests.unit.serve import onnx_models

MODELS = {
    "simple": onnx_models.add_sub,
    "text": lambda path: onnx_models.identity(path, T.STRING),
    "flags": lambda path: onnx_models.identity(path, T.BOOL),
    "half": lambda path: onnx_models.identity(path, T.FLOAT16),
    "float": lambda path: onnx_models.identity(path, T.FLOAT),
    "double": lambda path: onnx_models.identity(path, T.DOUBLE),
    "long": lambda path: onnx_models.identity(path, T.INT64),
    "byte": lambda path: onnx_models.identity(path, T.UINT8),
    "ulong": lambda path: onnx_models.identity(path, T.UINT64),
    "mlp": lambda path: onnx_models.mlp(path, (8, 16, 3)),
    "lookup": onnx_models.lookup,
}


@pytest.fixture(scope="package")
def serve(tmp_path_factory):
    """`serve("simple")`: the running server of that model."""
    folder = tmp_path_factory.mktemp("conformance")
    running: dict[str, Server] = {}

    def start(name: str) -> Server:
        if name not in running:
            path = MODELS[name](folder / f"{name}.onnx")
            log = folder / f"{name}.log"
            server = Server(log, "--model", str(path), "--threads", "1", "--engine", "onnxruntime")
            running[name] = server.wait()
        return running[name]

    yield start
    codes = {name: server.stop() for name, server in running.items()}
    assert set(codes.values()) <= {0}, codes
