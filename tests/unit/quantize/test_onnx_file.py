"""Models from outside: what may be opened, and what is refused before anything of it is followed."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads.errors import BadInput
from workloads.onnx import file


def small(opset: int = 17) -> Any:
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def with_external(folder: Path, location: str) -> Path:
    model = small()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_ports_are_read(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "m.onnx")
    model = file.load(tmp_path / "m.onnx")
    assert file.inputs_of(model) == [file.Port("x", "float32", (None, 4))]
    assert file.opset_of(model) == 17


def test_data_beside_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.eye(4, dtype=np.float32).tobytes())
    model = file.load(with_external(tmp_path, "weights.bin"))
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == np.eye(4).tolist()


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 64)
    inside = tmp_path / "model"
    inside.mkdir()
    with pytest.raises(BadInput, match="outside the model's folder"):
        file.load(with_external(inside, location))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 64)
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "weights.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="by a link"):
        file.load(with_external(inside, "weights.bin"))


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing"):
        file.load(with_external(tmp_path, "weights.bin"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"weights": [1.0]}), "pickle"),
        (b"PK\x03\x04rest of an archive", "pickle"),
        (b"not a model", "not an ONNX model"),
        (b"", "not an ONNX model"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=words):
        file.load(path)


def test_the_exported_model_holds_nothing_of_this_machine(exported: Any) -> None:
    content = exported.SerializeToString()
    assert b"stack_trace" not in content
    assert str(Path.home()).encode() not in content
    assert [port.shape for port in file.inputs_of(exported)] == [(None, 1, 8, 8)]
