"""The stage benchmark, beyond its clocks: what the engine ran is told by name of the input; no job is lost for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from tests.unit.onnx_graphs.graphs import SAMPLES, model, quantize, random, value
from workloads.onnx import kernels

X = {"wide": random(SAMPLES, 32, seed=1), "narrow": random(SAMPLES, 16, seed=2)}


def graph() -> Any:
    """Two inputs in another order than the data's, and than they are read."""
    nodes = [
        helper.make_node("MatMul", ["wide", "w1"], ["a"], "first"),
        helper.make_node("MatMul", ["narrow", "w2"], ["b"], "second"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    inputs = [value("narrow", ["n", 16]), value("wide", ["n", 32])]
    return model(nodes, inputs, [value("y", ["n", 24])], {"w1": random(32, 24), "w2": random(16, 24)})


def ran(folder: Path) -> dict[str, Any]:
    gates = {"accuracy": {"maxDrop": 1.0, "minSqnrDb": 0.0}}
    quantize(folder, graph(), X, ["dynamic"], gates=gates, optimizeFor="size", calibration=None)
    report: dict[str, Any] = json.loads((folder / "job" / "out" / "report.json").read_text())
    return report["benchmark"]["engine"]


def test_inputs_are_given_by_name_and_not_by_place(tmp_path: Path) -> None:
    found = ran(tmp_path)["models"]
    assert set(found) == {"float", "dynamic"}
    assert all(row["kernels"] and row["microseconds"] > 0 for row in found.values())
    flops = [row["flops"] for row in found["float"]["kernels"] if row.get("flops")]
    assert sorted(flops) == sorted(2 * 24 * width for width in (16, 32))


@pytest.mark.parametrize("error", [RuntimeError("Fail\nmore"), Exception(""), OSError(28, "No space left")])
def test_what_cannot_be_profiled_is_words_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(kernels, "of_onnx_runtime", fails)
    found = ran(tmp_path)["models"]
    words = {"float": found["float"]["words"], "dynamic": found["dynamic"]["words"]}
    assert all(told.startswith("not told: ") and "\n" not in told for told in words.values())
    assert f"<p>{words['float']}</p>" in (tmp_path / "job" / "out" / "report.html").read_text()
