"""What the issue of quantization promises of real models, end to end by the command line. Minutes for each of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models import fashion, lite0, magika, minilm
from tests.models.command import quantized

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def candidates(report: dict[str, Any], start: str) -> list[dict[str, Any]]:
    return [row for row in report["candidates"] if row["name"].startswith(start)]


def chosen(report: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in report["candidates"] if row["name"] == report["published"])


def test_magika_is_rescued(tmp_path: Path) -> None:
    """Static int8 of everything loses a third of the answers or more; what is published keeps 99 % of them."""
    report = quantized("magika", tmp_path, magika.prepare(tmp_path))
    reference = report["candidates"][0]["accuracy"]
    static = candidates(report, "static-")
    assert len(static) == 8
    assert max(row["accuracy"] for row in static) < 0.7 * reference
    assert chosen(report)["accuracy"] >= 0.99 * reference
    assert chosen(report)["sizeBytes"] < 0.3 * report["candidates"][0]["sizeBytes"]


def test_lite0_wants_a_scale_per_channel(tmp_path: Path) -> None:
    report = quantized("lite0", tmp_path, lite0.prepare(tmp_path))
    per_tensor = max(row["agreement"] for row in candidates(report, "static-per-tensor"))
    per_channel = max(row["agreement"] for row in candidates(report, "static-per-channel"))
    assert per_channel > per_tensor + 0.1
    assert chosen(report)["agreement"] >= 0.95


@pytest.mark.parametrize("prepare", [minilm.prepare, minilm.prepare_dynamic])
def test_minilm_passes_with_texts_of_any_length(tmp_path: Path, prepare: Callable[[Path], dict[str, Any]]) -> None:
    report = quantized("minilm", tmp_path, prepare(tmp_path))
    assert report["candidates"][0]["accuracy"] > 0.7
    assert chosen(report)["accuracy"] >= 0.99 * report["candidates"][0]["accuracy"]


def test_training_repairs_three_bits(tmp_path: Path) -> None:
    """No calibration passes the gate at 3-bit weights; training with them does."""
    report = quantized("fashion", tmp_path, fashion.prepare(tmp_path))
    assert report["published"] == "qat"
    assert not any(row["passed"] for row in report["candidates"][1:] if row["name"] != "qat")
