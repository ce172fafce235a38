"""Models of whole 8-bit weights get exact kernels where a CPU's fast ones would saturate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from slipway.api.quantization.ladder import Hardware
from tests.unit.onnx_graphs.graphs import built, classifier, model, quantize, random, value
from workloads.onnx import saturation, session

AVX2 = "processor : 0\nflags\t\t: fpu avx avx2 fma\n"
VNNI = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
ARM = "processor : 0\nFeatures\t: fp asimd asimddp i8mm\n"
X = {"x": random(48, 16)}


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes this machine another one, as far as saturation can tell."""
    read = saturation.features

    def become(text: str, machine: str = "x86_64") -> None:
        path = tmp_path / f"cpuinfo-{len(text)}"
        path.write_text(text)
        found = read(path)
        monkeypatch.setattr(saturation, "features", lambda *_: found)
        monkeypatch.setattr("platform.machine", lambda: machine)

    return become


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (AVX2, "x86_64", Hardware.X86),
        (VNNI, "x86_64", Hardware.X86_VNNI),
        (VNNI.replace("avx512_vnni", "avx_vnni"), "AMD64", Hardware.X86_VNNI),
        (ARM, "aarch64", Hardware.ARM64),
        ("", "x86_64", Hardware.X86),
    ],
)
def test_a_node_knows_what_it_is(cpu: Any, text: str, machine: str, expected: Hardware) -> None:
    cpu(text, machine)
    assert saturation.hardware() is expected


class Settings:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


def quantized(folder: Path, *, reduce_range: bool) -> Any:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        classifier(), folder / "q.onnx", weight_type=QuantType.QInt8, per_channel=True, reduce_range=reduce_range
    )
    return onnx.load(folder / "q.onnx")


def test_exact_kernels_are_taken_where_the_fast_ones_saturate_and_nowhere_else(cpu: Any, tmp_path: Path) -> None:
    whole, seven = quantized(tmp_path, reduce_range=False), quantized(tmp_path, reduce_range=True)
    asked = {}
    for name, text in (("avx2", AVX2), ("vnni", VNNI)):
        cpu(text)
        for kind, each in (("whole", whole), ("seven", seven), ("float", classifier())):
            asked[name, kind] = saturation.options(Settings(), each)
    assert asked == {key: key == ("avx2", "whole") for key in asked}


WEIGHT, SMALL = np.full((16, 4), 120, np.int8), np.full((16, 4), 60, np.int8)
IN = [
    helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "q"),
    helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
]
OUT = helper.make_node("MatMul", ["d", "v"], ["y"], "product")
READ = helper.make_node("DequantizeLinear", ["w", "s"], ["v"], "read")
KEPT = helper.make_node("Constant", [], ["w"], "kept", value=numpy_helper.from_array(WEIGHT))
MADE = helper.make_node("QuantizeLinear", ["f", "s"], ["w"], "made")
BODY = helper.make_graph([KEPT, READ, OUT], "body", [], [value("y", None)])


@pytest.mark.parametrize(
    ("nodes", "weights", "wide"),
    [
        pytest.param([*IN, READ, OUT], {"w": WEIGHT}, True, id="without zero points"),
        pytest.param([*IN, READ, OUT], {"w": SMALL}, False, id="of seven bits without zero points"),
        pytest.param([*IN, KEPT, READ, OUT], {}, True, id="in a node Constant"),
        pytest.param(
            [*IN, MADE, READ, OUT], {"f": random(16, 4)}, True, id="quantized in the graph, after training so"
        ),
        pytest.param(
            [*IN, helper.make_node("If", ["c"], ["y"], "if", then_branch=BODY, else_branch=BODY)],
            {"c": np.array(True)},
            True,
            id="in a body",
        ),
    ],
)
def test_weights_of_a_stranger_are_found_where_its_exporter_keeps_them(
    cpu: Any, nodes: list[Any], weights: dict[str, Any], wide: bool
) -> None:
    """On an emulated Haswell the first, third and fourth answer with 14 dB, and with 41 dB on exact kernels."""
    scale = {"s": np.array(0.05, np.float32)}
    graph = model(nodes, [value("x", ["n", 16])], [value("y", None)], {**weights, **scale})
    cpu(AVX2)
    assert saturation.saturates(graph) is wide
    cpu(VNNI)
    assert not saturation.saturates(graph)


def test_the_runtime_takes_the_option(cpu: Any, tmp_path: Path) -> None:
    model = quantized(tmp_path, reduce_range=False)
    fast = session.session(model).run(None, X)[0]
    cpu(AVX2)
    exact = session.session(model).run(None, X)[0]
    np.testing.assert_allclose(exact, fast, rtol=0.2, atol=0.2)


def test_auto_is_the_node_and_stays_it(cpu: Any, tmp_path: Path) -> None:
    cpu(AVX2)
    found = quantize(tmp_path, classifier(), X, ["static-per-channel"])
    assert built(found)
    model = onnx.load(next((tmp_path / "job").rglob("candidates/*.onnx"), tmp_path / "job/out/model.onnx"))
    weights = [t for t in model.graph.initializer if t.data_type == t.INT8 and len(t.dims) > 1]
    assert all(np.abs(onnx.numpy_helper.to_array(t).astype(int)).max() <= saturation.SAFE for t in weights)


def test_another_target_than_the_node_is_told(cpu: Any, tmp_path: Path) -> None:
    cpu(AVX2)
    found = quantize(
        tmp_path,
        classifier(),
        X,
        ["static-per-channel"],
        target={"runtime": "onnxruntime", "hardware": "x86-vnni"},
        gates={"accuracy": {"maxDrop": 0.5}},
    )
    assert any("judged with exact kernels" in warning for warning in found.warnings)
    assert found.artifact is not None
