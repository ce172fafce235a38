"""What people give for a model and is none, or is one in disguise: each is said in words that tell what to do."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit.serve import onnx_models
from workloads.errors import BadInput
from workloads.serve.model import load

LFS = b"version https://git-lfs.example.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return folder / Path(name).parts[0]

    return make


def without_axes(folder: Path) -> Path:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [port], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def two(folder: Path) -> Path:
    for name in ("encoder.onnx", "decoder.onnx"):
        onnx_models.mlp(folder / name, (2, 2))
    return folder


def script(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "m.pt", "w") as archive:
        archive.writestr("m/constants.pkl", b"")
    return folder / "m.pt"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (written("m.onnx", LFS), "Git LFS"),
        (written("m.onnx", b"<!DOCTYPE html><html>"), "a page"),
        (written("m.onnx", b'{"error": "not found"}'), "text"),
        (written("m.onnx", b""), "m.onnx"),
        (written("m.pt", b"\x80\x02}q\x00."), "pickle"),
        (script, "TorchScript"),
        (written("m.gguf", b"GGUF"), "GGUF"),
        (written("m.h5", b"\x89HDF\r\n\x1a\n"), "Keras"),
        (written("m.safetensors", b"\0"), "safetensors"),
        (written("m.engine", b"ftrt"), "TensorRT"),
        (written("m.tar.gz", b"\x1f\x8b"), "unpack"),
        (written("m/saved_model.pb", b""), "tf2onnx"),
        (written("m/pytorch_model.bin", b""), "pickle"),
        (written("m/openvino_model.xml", b"<?xml"), "OpenVINO"),
        (two, "encoder.onnx"),
        (without_axes, "'x' is declared without a shape"),
    ],
)
def test_what_is_no_model_is_said_with_what_to_do(make, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words):
        load(str(make(tmp_path)), "m", "1")


def test_the_only_model_of_a_folder_is_served_whatever_its_name(tmp_path: Path) -> None:
    onnx_models.mlp(tmp_path / "yolov8n.onnx", (8, 3))
    (tmp_path / "README.md").write_text("exported")
    found = load(str(tmp_path), "", "1")
    assert [tensor.name for tensor in found.signature.inputs] == ["x"]
    assert found.digest == load(str(tmp_path / "yolov8n.onnx"), "", "1").digest
