"""The report: every figure that it promises is there and true, and the page shows it."""

import json
import re
from html import escape
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.api.quantization.status import StageResult
from tests.unit.quantize import jobs
from workloads import storage
from workloads.quantize.context import Context
from workloads.quantize.evaluation import benchmark
from workloads.quantize.report import plots
from workloads.quantize.report.charts import Bar, Mark, Point, bars, histogram, pareto, roofs, scatter
from workloads.quantize.report.page import page
from workloads.quantize.stages import publish

Finished = tuple[jobs.Job, StageResult]
Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(finished: Finished) -> Report:
    found: Report = json.loads((storage.fetch(finished[0].spec.output.uri) / "report.json").read_text())
    return found


@pytest.fixture(scope="module")
def text(finished: Finished) -> str:
    return (storage.fetch(finished[0].spec.output.uri) / "report.html").read_text(encoding="utf-8")


def test_latency_throughput_and_memory_of_both_models(report: Report) -> None:
    models = report["benchmark"]["models"]
    assert list(models) == ["float", report["published"]]
    for model in models.values():
        assert [row["batchSize"] for row in model["latency"]] == [1]
        assert model["memoryBytes"] > 0
        for row in model["latency"]:
            assert 0 < row["p50Ms"] <= row["p99Ms"]
            assert row["samplesPerSecond"] >= 1000 / row["p99Ms"]
    speedup = report["benchmark"]["speedup"]
    assert 0 < speedup["low"] <= speedup["median"] <= speedup["high"]


def test_the_best_attempts_are_timed_too(report: Report) -> None:
    """For the plot of accuracy over latency, which would have two dots otherwise."""
    timed = report["benchmark"]["p50Ms"]
    assert len(timed) == 2 + 6
    assert {"float", report["published"]} < set(timed)
    assert all(value > 0 for value in timed.values())


def test_what_runs_on_integers_and_why_the_rest_does_not(report: Report) -> None:
    models = report["benchmark"]["models"]
    assert models["float"]["kernels"]["integer"] == {}
    found = models[report["published"]]["kernels"]
    assert found["integer"]
    kept = next(row for row in report["candidates"] if row["name"] == report["published"])["floatNodeNames"]
    reasons = {node["node"].removeprefix("fused "): node["why"] for node in found["floatNodes"]}
    assert kept
    assert all(reasons[node] == "kept in float: quantizing it costs most" for node in kept)


def test_histograms_hold_every_value_and_every_methods_range(report: Report) -> None:
    assert len(report["tensors"]) >= 5
    for tensor in report["tensors"]:
        assert sum(tensor["counts"]) % report["calibration"]["samples"] == 0
        low, high = tensor["ranges"]["min-max"]
        assert set(tensor["ranges"]) == {"min-max", "percentile", "entropy", "mse"}
        assert all(low <= start <= end <= high for start, end in tensor["ranges"].values())
        last = tensor["low"] + tensor["binWidth"] * len(tensor["counts"])
        assert tensor["low"] <= low
        assert high <= last


def test_the_page_shows_them(report: Report, text: str) -> None:
    for row in report["candidates"]:
        assert f"<nobr>{escape(row['name'])}</nobr>" in text
    for model in report["benchmark"]["models"].values():
        for row in model["latency"]:
            for key in ("p50Ms", "p99Ms", "samplesPerSecond"):
                assert f"<td class=n>{row[key]:,.3f}</td>" in text
        assert f"<td class=n>{model['memoryBytes'] / 1e6:.1f}</td>" in text
    assert "kept in float: quantizing it costs most" in text
    for part in report["sensitivity"]:
        assert part["sqnrDb"] > 60 or f"{part['part']}: {part['sqnrDb']} dB" in text
    for tensor in report["tensors"][:12]:
        assert f"<figcaption>{escape(tensor['name'])}</figcaption>" in text
    front, gates = (len(re.findall(f'<g id="{kind}">', text)) for kind in ("front", "limit"))
    assert (front, gates) == (2, 2)


def point(x: float, y: float) -> Point:
    return Point(x, y, y, y, "", "dot", "")


def test_the_front_holds_what_no_other_point_beats() -> None:
    numbers = np.random.default_rng(0).integers(0, 12, size=(60, 2))
    points = [point(float(x), float(y)) for x, y in numbers]
    front = {(p.x, p.y) for p in pareto(points)}
    unbeaten = {
        (p.x, p.y) for p in points if not any(o != p and o.x <= p.x and o.y >= p.y for o in points if o.y + p.x != 0)
    }
    assert front == unbeaten
    assert '<g id="front">' in scatter(points, "x", "y")


def test_the_engine_s_kernels_with_what_bounds_them(report: Report, text: str) -> None:
    engine = report["benchmark"]["engine"]
    assert min(engine["peaks"].values()) > 0
    assert list(engine["models"]) == ["float", report["published"]]
    for name, found in engine["models"].items():
        rows = found["kernels"]
        assert found["count"] == len(rows) > 0
        assert [row["microseconds"] for row in rows] == sorted((row["microseconds"] for row in rows), reverse=True)
        assert any(row.get("flops") and row["bytes"] for row in rows)
        assert any(row["fusion"] for row in rows)
        assert any(row.get("integer") for row in rows) == (name != "float")
        assert escape(found["words"]) in text
        assert f'aria-label="roofline of {name}"' in text
    assert "<h2>What the engine did</h2>" in text


NASTY = '</svg><script>alert("&")</script>'


KERNEL = {"op": NASTY, "name": NASTY, "flops": 10, "bytes": 2, "microseconds": 1.0, "integer": True}
KERNEL |= {"bound": "memory bound", "shareOfRoof": 0.5}


def test_charts_escape_what_strangers_named_and_are_drawn_alike_twice() -> None:
    """Nodes and tensors are named by who made the model; kills and restarts must give the same page."""
    drawn = [
        lambda: scatter(
            [Point(1, 2, 1, 3, NASTY, "failed", NASTY), Point(2, 1, 1, 1, NASTY, "chosen")], NASTY, "y", 1.5
        ),
        lambda: bars([Bar(NASTY, -3.0, NASTY), Bar("ok", 40.0, "hint", marked=True)], NASTY),
        lambda: histogram(-1.0, 0.5, [1, 0, 4000], [Mark(NASTY, -1, 0, strong=True), Mark("mse", 0, 0, strong=False)]),
        lambda: histogram(0.0, 0.0, [1], []),
        lambda: roofs({"gigabytesPerSecond": 5, "floatGigaflops": 50, "int8Gigaflops": 200}, [KERNEL], NASTY),
        lambda: roofs({"gigabytesPerSecond": 5, "floatGigaflops": 50, "int8Gigaflops": 200}, [], "none has FLOPs"),
    ]
    for draw in drawn:
        text = draw()
        assert "<script" not in text
        assert minidom.parseString(text).documentElement.tagName == "svg"
        assert text == draw()
    assert "<title>hint</title>" in drawn[1]()


def test_no_model_is_lost_for_a_report_without_charts(
    finished: Finished, report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> str:
        raise ImportError("No module named 'matplotlib'")

    monkeypatch.setattr(plots.charts, "svg", fails)
    text = publish._page(Context(finished[0], jobs.work_of(finished[0]), jobs.quiet()), report)
    assert text == page(report, charts=False)
    assert "<svg" not in text
    assert all(f"<nobr>{escape(row['name'])}</nobr>" in text for row in report["candidates"])
    assert "the report has no charts: ImportError: No module named 'matplotlib'" in capsys.readouterr().out


def test_figures_of_a_series_of_calls() -> None:
    calls = np.arange(1, 101) / 1e3
    expected = {"batchSize": 4, "p50Ms": 50.5, "p99Ms": 99.01, "samplesPerSecond": round(4 / 0.0505, 1)}
    assert benchmark.figures(calls, 4) == expected


def test_speed_is_judged_pair_by_pair() -> None:
    """A busy machine slows both calls of a pair: their quotient stays."""
    busy = np.repeat([1.0, 30.0], 50)
    found = benchmark.speedup_of(np.stack([3 * busy, 2 * busy]))
    assert (found.median, found.low, found.high) == (1.5, 1.5, 1.5)


def test_memory_is_that_of_the_model_and_its_call(tmp_path: Path) -> None:
    """48 MiB of weights show, and the same model without them does not take half of it."""

    def peak(width: int) -> int:
        weight = numpy_helper.from_array(np.ones((width, 1024), np.float32), "w")
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1024])
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, tmp_path / "m.onnx")
        return benchmark.peak_memory(tmp_path / "m.onnx", {"x": np.ones((1, width), np.float32)}, tmp_path) or 0

    large = peak(12 * 1024)
    assert large > 48 << 20
    assert 0 < peak(16) < large / 2
