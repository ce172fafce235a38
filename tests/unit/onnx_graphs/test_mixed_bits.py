"""Int4 weights where one product cannot have them: it keeps 8 bits, and the others their 4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from slipway.api.quantization.status import Outcome, StageResult
from tests.unit.onnx_graphs.graphs import SAMPLES, model, quantize, random, value
from tests.unit.quantize import jobs
from workloads.quantize.graph import integers

WIDTH, NAMES = 64, ("first", "second", "third")
# Every sixteenth number is small, and has large weights: in blocks with these the others' weights round to nothing.
X = {"x": np.where(np.arange(WIDTH) % 16 == 0, 1e-3, 1).astype(np.float32) * random(SAMPLES, WIDTH)}


def graph(outlier: float, *, gemm: bool) -> Any:
    """Three products, the first of them with weights that stand out."""
    weights = {f"w{name}": random(WIDTH, WIDTH, seed=seed, scale=0.1) for seed, name in enumerate(NAMES)}
    weights["wfirst"][::16] *= outlier
    nodes, tensor = [], "x"
    for name in NAMES:
        kind = "Gemm" if gemm else "MatMul"
        nodes.append(helper.make_node(kind, [tensor, f"w{name}"], [f"{name}_out"], name))
        nodes.append(helper.make_node("Tanh", [f"{name}_out"], [f"{name}_tanh"], f"{name}_act"))
        tensor = f"{name}_tanh"
    nodes[-1].output[0] = "y"
    return model(nodes, [value("x", ["n", WIDTH])], [value("y", ["n", WIDTH])], weights)


def ran(folder: Path, given: Any, least: float, **spec: Any) -> tuple[StageResult, dict[str, Any]]:
    gates = {"accuracy": {"maxDrop": 1.0, "minSqnrDb": least}}
    fields = {"gates": gates, "optimizeFor": "size", "calibration": None, **spec}
    fields["evaluation"] = {"uri": (folder / "data.npz").as_uri(), "metric": "agreement", "task": "closeness"}
    found = quantize(folder, given, X, ["weight-only-int4"], **fields)
    return found, json.loads((folder / "job" / "out" / "report.json").read_text())


@pytest.mark.parametrize("gemm", [False, True], ids=["MatMul", "Gemm"])
def test_the_product_that_cannot_have_4_bits_keeps_8(tmp_path: Path, gemm: bool) -> None:
    found, report = ran(tmp_path, graph(40.0, gemm=gemm), 12.0)
    assert (found.outcome, found.selected) == (Outcome.QUANTIZED, "weight-only-int4-int8-1")
    rows = {row["name"]: row for row in report["candidates"]}
    assert rows[found.selected]["int8NodeNames"] == ["first"]
    assert rows[found.selected]["sqnrDb"] > rows["weight-only-int4"]["sqnrDb"] + 5
    assert not rows["weight-only-int4"]["passed"]
    published = onnx.load(tmp_path / "job" / "out" / "model.onnx")
    kinds = [node.op_type for node in published.graph.node if node.op_type in {"MatMulNBits", "DequantizeLinear"}]
    assert sorted(kinds) == ["DequantizeLinear", "MatMulNBits", "MatMulNBits"]
    assert integers.weights(published) > 0


def test_no_more_products_keep_8_bits_than_must_and_int4_that_passes_is_left_alone(tmp_path: Path) -> None:
    whole, report = ran(tmp_path / "whole", graph(1.0, gemm=False), 8.0)
    assert whole.selected == "weight-only-int4"
    assert [row["name"] for row in report["candidates"]] == ["float", "weight-only-int4"]
    never, report = ran(tmp_path / "never", graph(40.0, gemm=False), 90.0)
    assert never.outcome is Outcome.KEPT_FLOAT
    tried = [row["method"] for row in report["candidates"][2:]]
    assert tried == ["int8: 1 of 3 products", "int8: 2 of 3 products"]


def test_a_size_that_int4_alone_misses_is_not_searched_for_with_more_bits(tmp_path: Path) -> None:
    gates = {"accuracy": {"minSqnrDb": 90.0}, "size": {"maxRatio": 0.01}}
    _, report = ran(tmp_path, graph(1.0, gemm=False), 0.0, gates=gates)
    assert [row["name"] for row in report["candidates"]] == ["float", "weight-only-int4"]


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    ran(tmp_path, graph(40.0, gemm=False), 12.0)
    work = next((tmp_path / "job").rglob("sensitivity/int4.jsonl"))
    lines = [json.loads(line) for line in work.read_text().splitlines()]
    assert sorted(line["node"] for line in lines) == sorted(NAMES)
    assert min(lines, key=lambda line: line["sqnrDb"])["node"] == "first"
    before = work.read_bytes()
    for name in ("rungs/weight-only-int4.json", "published.json"):
        next((tmp_path / "job").rglob(name)).unlink()
    jobs.run(jobs.read_job(tmp_path / "job" / "job.yaml", jobs.Overrides()))
    assert work.read_bytes() == before
