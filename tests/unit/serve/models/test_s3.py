"""A model in an object store, by a real S3-compatible server: served with its weights, and pinned by its digest."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.conformance.server import Server
from tests.unit.serve import onnx_models
from workloads.errors import BadInput, Corrupt, Unavailable
from workloads.serve.model import load

if not (importlib.util.find_spec("s3fs") and importlib.util.find_spec("moto")):
    pytest.skip("s3fs or moto is not installed", allow_module_level=True)

ROW = np.linspace(-1, 1, 8, dtype=np.float32)[None]


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """What a Secret's keys in predictor.env would set, for an S3 with one bucket."""
    import s3fs
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    env = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    env |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)
        yield env
    running.stop()


@pytest.fixture(scope="module")
def stored(store: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its weights beside it, at s3://bucket/m/model.onnx; the local copy."""
    import s3fs

    folder = tmp_path_factory.mktemp("model")
    whole = onnx.load(onnx_models.mlp(folder / "whole.onnx", (8, 16, 3)))
    path = folder / "model.onnx"
    onnx.save(whole, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    for name in ("model.onnx", "model.onnx.data"):
        s3fs.S3FileSystem().put(str(folder / name), f"bucket/m/{name}")
    return path


def test_a_model_and_its_weights_are_fetched_and_served(store: dict[str, str], stored: Path, tmp_path: Path) -> None:
    options = ("--model", "s3://bucket/m/model.onnx", "--threads", "1", "--engine", "onnxruntime")
    server = Server(tmp_path / "log", *options, env=store).wait()
    try:
        tensor = {"name": "x", "shape": [1, 8], "datatype": "FP32", "data": ROW.tolist()}
        said = server.infer({"inputs": [tensor]})
        properties = server.ask("GET", f"/v2/models/{server.name}").json["properties"]
    finally:
        server.stop()
    (expected,) = onnxruntime.InferenceSession(str(stored)).run(None, {"x": ROW})
    np.testing.assert_allclose(said.json["outputs"][0]["data"], expected[0], rtol=1e-5)
    assert properties["digest"] == load(str(stored), "m", "1").digest


def test_other_weights_at_the_same_address_are_refused(store: dict[str, str], stored: Path) -> None:
    import s3fs

    uri, pinned = "s3://bucket/m/model.onnx", load(str(stored), "m", "1").digest
    assert load(uri, "m", "1", pinned).digest == pinned
    files, data = s3fs.S3FileSystem(), stored.with_name("model.onnx.data").read_bytes()
    files.pipe("bucket/m/model.onnx.data", data[:-1] + bytes([data[-1] ^ 1]))
    try:
        with pytest.raises((BadInput, Corrupt), match=r"digest|sha256"):
            load(uri, "m", "1", pinned)
    finally:
        files.pipe("bucket/m/model.onnx.data", data)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://bucket/m/other.onnx", "other.onnx"),
        ("s3://bucket/nothing/", "nothing"),
        ("s3://bukcet/m/model.onnx", "bukcet"),
        ("s3://", "s3://"),
        ("gs://bucket/m/model.onnx", "gcsfs"),
        ("az://bucket/m/model.onnx", "adlfs"),
    ],
)
def test_what_cannot_be_fetched_is_said(store: dict[str, str], stored: Path, uri: str, words: str) -> None:
    with pytest.raises((BadInput, Unavailable), match=words):
        load(uri, "m", "1")
