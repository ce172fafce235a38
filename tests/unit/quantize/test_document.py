"""What is promised of real models and of calibration is what the committed measurements show."""

import json
from typing import Any

import pytest

from tests.perf.quantizing.quantize_table import CALIBRATION, MODELS, RESULTS

ROWS: dict[str, dict[str, Any]] = json.loads((RESULTS / MODELS).read_text())


def row_of(model: str) -> dict[str, Any]:
    return next(row for name, row in ROWS.items() if name.startswith(model))


def accuracies(row: dict[str, Any], rung: str) -> list[float]:
    return [found["accuracy"] for found in row["candidates"] if found["rung"] == rung]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_published_passed_its_gate(row: dict[str, Any]) -> None:
    chosen = next(found for found in row["candidates"] if found["name"] == row["published"])
    assert chosen["passed"]
    assert chosen["drop"] <= row["limit"]
    assert {"commit", "cpu", "cores", "loadBefore", "loadAfter"} <= set(row["about"])


def test_magika_collapses_and_is_rescued() -> None:
    row = row_of("Magika")
    float_accuracy = row["candidates"][0]["accuracy"]
    assert row["limit"] == pytest.approx(0.01 * float_accuracy)
    assert max(accuracies(row, "static-per-tensor") + accuracies(row, "static-per-channel")) < 0.7 * float_accuracy


def test_lite0_wants_a_scale_per_channel() -> None:
    row = row_of("EfficientNet-Lite0")
    assert max(accuracies(row, "static-per-channel")) > max(accuracies(row, "static-per-tensor")) + 0.1


def test_minilm_has_both_ways() -> None:
    assert {row["published"] == "dynamic" for name, row in ROWS.items() if "MiniLM" in name} == {True, False}


def test_three_bits_need_training() -> None:
    row = row_of("CNN, 3-bit")
    assert row["candidates"][0]["accuracy"] >= 0.9
    assert [found["name"] for found in row["candidates"] if found.get("passed")] == ["qat"]


def test_memory_stays_flat_where_the_librarys_grows_tenfold() -> None:
    summary = json.loads((RESULTS / CALIBRATION).read_text())["summary"]
    (first, last), (theirs, grown) = (summary["peakMiBFirstAndLast"][who] for who in ("ours", "entropy"))
    assert last < 1.1 * first
    assert grown > 10 * theirs
    assert summary["entropyIdenticalToNvidia"]
    assert min(summary["entropyTimesFasterThanNvidiaAtLeast"], summary["entropyTimesFasterThanOnnxRuntimeAtLeast"]) >= 5
