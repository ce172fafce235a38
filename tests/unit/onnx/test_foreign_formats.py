"""Formats that are no ONNX: each refused in words that are true of it and say what to do; none is opened."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from workloads.errors import BadInput
from workloads.onnx import foreign_formats
from workloads.onnx.model_files import OnnxFile
from workloads.quantize.source import open_source


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(name, b"x")
    return path


def file(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def folder(path: Path, **files: bytes) -> Path:
    for name, content in files.items():
        file(path / name.replace("__", "/").replace("_dot_", "."), content)
    return path


def scripted(path: Path) -> Path:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)), str(path))
    return path


def pickled(path: Path, *, old: bool) -> Path:
    torch.save(torch.nn.Linear(3, 2).state_dict(), path, _use_new_zipfile_serialization=not old)
    return path


def program(path: Path) -> Path:
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(1, 3),)), path)
    return path


def tensors(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.zeros(3, np.float32)}, path)
    return path


def hugging_face(path: Path) -> Path:
    tensors(path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    return path


KINDS = {
    "a .keras file": (
        lambda p: archive(p / "m.keras", "metadata.json", "config.json", "model.weights.h5"),
        "Keras model: .*model.export\\('saved'\\), .*tf2onnx.convert --saved-model saved",
    ),
    "an .h5 file": (lambda p: file(p / "m.h5", b"\x89HDF\r\n\x1a\n" + bytes(64)), "HDF5, as Keras.*tf2onnx.convert"),
    "HDF5 with ONNX's name": (lambda p: file(p / "m.onnx", b"\x89HDF\r\n\x1a\n" + bytes(64)), "HDF5, as Keras"),
    "a SavedModel": (
        lambda p: folder(p / "m", saved_model_dot_pb=b"x", variables__v=b"x"),
        "tf2onnx.convert --saved-model",
    ),
    "a frozen graph": (lambda p: file(p / "m.pb", b"x"), "tf2onnx.convert --graphdef"),
    "TFLite": (lambda p: file(p / "m.tflite", b"\x1c\0\0\0TFL3" + bytes(64)), "target.runtime litert makes one"),
    "TFLite with ONNX's name": (lambda p: file(p / "m.onnx", b"\x1c\0\0\0TFL3" + bytes(64)), "LiteRT"),
    "TorchScript": (lambda p: scripted(p / "m.pt"), "TorchScript, a program.*torch.jit.load"),
    "a program of torch.export": (lambda p: program(p / "m.pt2"), "torch.export.load"),
    "torch.save": (lambda p: pickled(p / "m.pth", old=False), "a pickle can run code"),
    "torch.save of old": (lambda p: pickled(p / "m.pt", old=True), "a pickle can run code"),
    "a pickle of any name": (lambda p: file(p / "model", b"\x80\x04."), "a pickle can run code"),
    "a Hugging Face folder": (lambda p: hugging_face(p / "m"), "optimum-cli export onnx"),
    "a folder of pickles": (
        lambda p: folder(p / "m", config_dot_json=b"{}", model_dot_bin=b"x"),
        "a pickle can run code",
    ),
    "safetensors": (lambda p: tensors(p / "m.safetensors"), "weights without the program"),
    "GGUF": (lambda p: file(p / "m.gguf", b"GGUF" + struct.pack("<I", 3) + bytes(64)), "llama.cpp"),
    "a Core ML package": (lambda p: folder(p / "m.mlpackage", Data__com_dot_apple_dot_CoreML__m=b"x"), "Core ML"),
    "a Core ML model": (lambda p: file(p / "m.mlmodel", b"\x08\x05"), "Core ML"),
    "OpenVINO": (lambda p: file(p / "m.xml", b'<?xml version="1.0"?><net name="m" version="11">'), "OpenVINO"),
    "a TensorRT engine": (lambda p: file(p / "m.engine", b"ftrt" + bytes(64)), "TensorRT engine"),
    "ORT": (lambda p: file(p / "m.ort", b"\x24\0\0\0ORTM" + bytes(64)), "own format"),
    "Paddle": (lambda p: folder(p / "m", inference_dot_pdmodel=b"x"), "paddle2onnx"),
    "a compressed file": (lambda p: file(p / "m.onnx.gz", b"\x1f\x8b" + bytes(64)), "unpack it"),
    "a pointer of Git LFS": (
        lambda p: file(p / "m.onnx", b"version https:" + b"//git-lfs.github" + b".com/spec/v1\n"),
        "Git LFS",
    ),
    "a page": (lambda p: file(p / "m.onnx", b"<!DOCTYPE html><html>404</html>"), "page"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_format_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    made, words = KINDS[kind]
    with pytest.raises(BadInput, match=words):
        open_source(made(tmp_path).as_uri(), None)


def test_every_kind_of_words_has_a_case() -> None:
    wanted = set(foreign_formats.WORDS.values()) - {foreign_formats.WORDS["folder"]}
    found = {words for words in wanted for _, match in KINDS.values() if re.search(match, words)}
    assert found == wanted


def model() -> bytes:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    stream = io.BytesIO()
    onnx.save(helper.make_model(graph), stream)
    return stream.getvalue()


def test_a_folder_with_one_onnx_file_is_that_file(tmp_path: Path) -> None:
    """As exporters leave it, with a tokenizer and a configuration beside it."""
    made = folder(tmp_path / "m", model_dot_onnx=model(), config_dot_json=b"{}", tokenizer_dot_json=b"{}")
    found = open_source(made.as_uri(), None)
    assert isinstance(found, OnnxFile)
    assert found.path.name == "model.onnx"


def test_a_folder_with_several_onnx_files_is_refused_by_their_names(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", a_dot_onnx=model(), b_dot_onnx=model())
    with pytest.raises(BadInput, match=r"name one of them, a\.onnx, b\.onnx"):
        open_source(made.as_uri(), None)


def test_onnx_itself_is_no_foreign_format(tmp_path: Path) -> None:
    foreign_formats.require_known("x", file(tmp_path / "m.onnx", model()))
    foreign_formats.require_known("x", file(tmp_path / "model", model()))
