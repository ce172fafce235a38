"""Structured steps of compression are kept by the clock, those that leave zeros by their accuracy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.api.training.compression import CompressionStep
from tests.unit.quantize import jobs
from workloads.quantize.context import Context
from workloads.quantize.stages import step_gain
from workloads.quantize.stages.compression_step import Step


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A job with the float model of 1000 bytes, and a step's of 800."""
    job = jobs.job(tmp_path, tmp_path / "model.onnx", ladder=None)
    found = Context(job, jobs.work_of(job), jobs.quiet())
    for name, size in (("float.onnx", 1000), ("candidates/compressed-1-channels.onnx", 800)):
        found.work.path(name).write_bytes(b"\0" * size)
    return found


def step(method: str, **fields: Any) -> Step:
    return Step(1, CompressionStep(method=method, **fields), "file:///m", "sha256:0")


@pytest.mark.parametrize(
    ("speedup", "kept"),
    [(1.3, True), (1.0, True), (0.9, True), (0.5, False), (None, True)],
    ids=["faster", "smaller", "more smaller than slower", "slower", "no target here to measure"],
)
def test_fewer_flops_that_take_longer_are_no_gain(
    context: Context, monkeypatch: pytest.MonkeyPatch, speedup: float | None, kept: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(step_gain, "measurable", lambda _: speedup is not None)
    monkeypatch.setattr(step_gain, "latency_against", lambda *names: asked.append("once") or speedup)
    channels = step("channels", ratio=0.1)
    assert step_gain.gains(context, channels, "float") is kept
    assert step_gain.gains(context, channels, "float") is kept  # as after a kill: read, and not measured again
    assert len(asked) == (speedup is not None)
    told = context.work.require("latency/compressed-1-channels")["noGain"]
    assert ("times as fast as float, more slower than smaller" in told) is not kept


def test_zeros_need_no_clock(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_gain, "latency_against", None)
    assert step_gain.gains(context, step("two-four"), "float")
