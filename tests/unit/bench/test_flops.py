"""FLOPs and parameters: by hand, by torch and from the ONNX graph they are the same numbers, quantized or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from tests.unit.serve import artifacts, onnx_models
from workloads.bench import flops, models_under_test
from workloads.export import from_torch
from workloads.models.from_artifact import load_model
from workloads.onnx import file


def bare(path: Path) -> models_under_test.Source:
    return models_under_test.find(str(path))


def test_an_mlp_by_hand(tmp_path: Path) -> None:
    source = bare(onnx_models.mlp(tmp_path / "m.onnx", (16, 32, 10)))
    assert flops.flops(source) == 2 * (16 * 32 + 32 * 10)
    assert flops.parameters(source) == 16 * 32 + 32 + 32 * 10 + 10
    assert flops.file_bytes(tmp_path / "m.onnx") == (tmp_path / "m.onnx").stat().st_size


def test_torch_and_onnx_count_alike(tmp_path: Path) -> None:
    folder, _ = artifacts.small_cnn(tmp_path / "model")
    of_torch = models_under_test.find(str(folder))
    module, described = load_model(folder)
    file.save(from_torch.export(module, described.signature), tmp_path / "m.onnx")
    of_onnx = bare(tmp_path / "m.onnx")
    # Two convolutions of 3x3 with a pooling between, and two linear layers: 1 -> 4 on 8x8, 4 -> 8 on 4x4.
    by_hand = 2 * (4 * 9 * 64 + 8 * 4 * 9 * 16 + 8 * 16 * 16 + 16 * 10)
    assert flops.flops(of_torch) == flops.flops(of_onnx) == by_hand
    assert flops.parameters(of_torch) == flops.parameters(of_onnx)


class Noise(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = iter(np.random.default_rng(0).random((8, 1, 16), np.float32))

    def get_next(self):
        batch = next(self.left, None)
        return None if batch is None else {"x": batch}


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_quantizing_changes_neither(tmp_path: Path, form: QuantFormat) -> None:
    onnx_models.mlp(tmp_path / "m.onnx", (16, 32, 10))
    quantize_static(str(tmp_path / "m.onnx"), str(tmp_path / "q.onnx"), Noise(), quant_format=form)
    before, after = bare(tmp_path / "m.onnx"), bare(tmp_path / "q.onnx")
    assert flops.flops(after) == flops.flops(before)
    assert flops.parameters(after) == flops.parameters(before)


def test_what_hides_its_products_has_no_figure(tmp_path: Path) -> None:
    loop = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bi,ij->bj")
    ports = [("x", T.FLOAT, ["batch", 4])], [("y", T.FLOAT, ["batch", 4])]
    onnx_models.write(tmp_path / "m.onnx", [loop], *ports, {"w": np.eye(4, dtype=np.float32)})
    assert flops.flops(bare(tmp_path / "m.onnx")) is None


def test_weights_beside_the_file_are_part_of_its_size(tmp_path: Path) -> None:
    model = onnx.load(onnx_models.mlp(tmp_path / "m.onnx", (16, 512, 10)))
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="e.data")
    assert flops.file_bytes(tmp_path / "e.onnx") > (512 * 16 + 512 * 10) * 4
