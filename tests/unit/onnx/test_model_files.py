"""A model's digest covers every byte that is loaded: the .onnx file and the weights that exporters write beside it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import fsspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from slipway.api.common.artifact import DESCRIPTION_FILE
from tests.unit.serve.artifacts import small_cnn
from workloads import storage
from workloads.errors import BadInput, Corrupt
from workloads.onnx import model_files
from workloads.quantize.source import open_source
from workloads.serve.model import load

WEIGHT = np.eye(4, dtype=np.float32)


def outside(folder: Path, location: str = "weights.bin", length: str = "64", where: str = "initializer") -> Path:
    """`y = x @ w` whose w lies in a file of its own; `where` the constant stands in the graph."""
    folder.mkdir(exist_ok=True)
    tensor = numpy_helper.from_array(WEIGHT, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = T.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    ports = [helper.make_tensor_value_info(name, T.FLOAT, ["n", 4]) for name in "xy"]
    nodes = [product] if where == "initializer" else [constant, product]
    functions = []
    if where == "function":
        functions = [
            helper.make_function("own", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 18)]),
        ]
        nodes = [helper.make_node("F", ["x"], ["y"], domain="own")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [tensor] if where == "initializer" else [])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    path = folder / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions).SerializeToString()
    )
    (folder / "weights.bin").write_bytes(WEIGHT.tobytes())
    return path


def test_without_external_data_the_digest_is_the_files_own(tmp_path: Path) -> None:
    path = outside(tmp_path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("external_data")
        tensor.data_location = T.DEFAULT
    whole = tmp_path / "whole.onnx"
    onnx.save(model, whole)
    assert model_files.open_bare(whole)[0].digest == storage.sha256_of(whole)


def test_the_digest_with_external_data_is_what_sha256sum_prints(tmp_path: Path) -> None:
    path = outside(tmp_path)
    printed = subprocess.run(
        "sha256sum model.onnx weights.bin | LC_ALL=C sort -k2 | sha256sum",
        shell=True,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()[0]
    assert model_files.open_bare(path)[0].digest == f"sha256:{printed}"


@pytest.mark.parametrize("opener", [lambda p, d: load(str(p), "", "1", d), lambda p, d: open_source(str(p), d)])
def test_replaced_weights_beside_a_pinned_model_are_refused(opener, tmp_path: Path) -> None:
    path = outside(tmp_path)
    pinned = model_files.open_bare(path)[0].digest
    opener(path, pinned)
    (tmp_path / "weights.bin").write_bytes((WEIGHT * 2).tobytes())
    with pytest.raises(Corrupt, match="expected"):
        opener(path, pinned)


def test_a_pin_of_the_onnx_file_alone_is_refused_with_the_digest_to_pin(tmp_path: Path) -> None:
    path = outside(tmp_path)
    whole = model_files.open_bare(path)[0].digest
    with pytest.raises(Corrupt, match=rf"{whole}.*that is model.onnx alone, and a digest covers weights.bin as well"):
        load(str(path), "", "1", storage.sha256_of(path))


@pytest.mark.parametrize("where", ["initializer", "constant", "function"])
@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../x", "", "*/_ORT_MEM_ADDR_/*"])
def test_weights_from_outside_of_the_folder_are_refused_wherever_they_are_named(
    where: str, location: str, tmp_path: Path
) -> None:
    path = outside(tmp_path / "model", location, where=where)
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(BadInput, match=r"outside the model's folder|is missing"):
        load(str(path), "", "1")


@pytest.mark.parametrize("length", ["65", "9" * 30])
def test_weights_that_are_cut_are_corrupt(length: str, tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"64 bytes, model.onnx reads up to"):
        load(str(outside(tmp_path, length=length)), "", "1")


@pytest.mark.parametrize("length", ["-1", "six", "٣"])
def test_a_length_that_is_no_number_is_refused(length: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has the length"):
        load(str(outside(tmp_path, length=length)), "", "1")


def test_a_link_out_of_the_folder_is_refused_by_the_server_too(tmp_path: Path) -> None:
    path = outside(tmp_path / "model")
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (path.parent / "weights.bin").unlink()
    (path.parent / "weights.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="by a link"):
        load(str(path), "", "1")


def test_hugging_faces_cache_of_links_is_read(tmp_path: Path) -> None:
    """ONNX Runtime 1.24 refused it, and so did this server."""
    path = outside(tmp_path / "download")
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, name in enumerate(("model.onnx", "weights.bin")):
        (path.parent / name).rename(blobs / str(number))
        (snapshot / name).symlink_to(Path("../../blobs") / str(number))
    model = load(str(snapshot / "model.onnx"), "", "1")
    assert model.digest == model_files.open_bare(outside(tmp_path / "again"))[0].digest
    (snapshot / "weights.bin").unlink()
    (snapshot / "weights.bin").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="by a link"):
        load(str(snapshot / "model.onnx"), "", "1")


def test_what_artifact_json_does_not_list_is_not_loaded(tmp_path: Path) -> None:
    folder, _ = small_cnn(tmp_path / "cnn")
    outside(folder)
    path = folder / DESCRIPTION_FILE
    document = json.loads(path.read_text())
    listed = [file for file in storage.digests_of(folder, [DESCRIPTION_FILE]) if file.path != "weights.bin"]
    document["files"] = [file.wire() for file in listed]
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput, match=r"'weights.bin', which artifact.json does not list"):
        load(str(folder), "", "1")
    document["files"] = [file.wire() for file in storage.digests_of(folder, [DESCRIPTION_FILE])]
    path.write_text(json.dumps(document))
    load(str(folder), "", "1")


@pytest.mark.parametrize("opener", [lambda u, d: load(u, "", "1", d).digest, lambda u, d: open_source(u, d).digest])
def test_from_an_object_store_the_weights_come_too(opener, tmp_path: Path) -> None:
    path = outside(tmp_path)
    bucket = fsspec.filesystem("memory")
    for name in ("model.onnx", "weights.bin"):
        bucket.pipe(f"/bucket/m/{name}", (tmp_path / name).read_bytes())
    pinned = model_files.open_bare(path)[0].digest
    assert opener("memory://bucket/m/model.onnx", pinned) == pinned
    bucket.pipe("/bucket/m/weights.bin", (WEIGHT * 3).tobytes())
    with pytest.raises(Corrupt):
        opener("memory://bucket/m/model.onnx", pinned)
    bucket.rm("/bucket/m/weights.bin")
    with pytest.raises(BadInput, match=r"weights.bin that belongs to it is not beside it"):
        opener("memory://bucket/m/model.onnx", None)


def test_half_a_copy_is_corrupt_and_not_the_users_fault(tmp_path: Path) -> None:
    path = outside(tmp_path)
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(Corrupt):
        load(str(path), "", "1", f"sha256:{pinned}")
    with pytest.raises(Corrupt):
        load(str(path), "", "1")
