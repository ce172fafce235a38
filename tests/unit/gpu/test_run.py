"""`make gpu`: without a GPU it ends in words; a step that hangs, dies or is missing costs the others nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import __main__ as gpu
from tests.gpu import engines, memory, serving, training
from tests.gpu.step import STEPS, Skip, Step
from tests.gpu.table import table
from workloads.train.job import Overrides, read_job


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(gpu.os, "_exit", end)


def test_without_a_gpu_it_ends_at_once_in_words(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "gpu", lambda: ({}, "PyTorch 2.13.0+cpu finds no CUDA device here"))
    monkeypatch.setattr(gpu, "everything", lambda *given: pytest.fail("a step was run"))
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "gpu.json")])
    assert gpu.main() == gpu.NO_GPU
    assert capsys.readouterr().out.startswith(
        "no GPU, so nothing was measured: PyTorch 2.13.0+cpu finds no CUDA device"
    )
    assert not (tmp_path / "gpu.json").exists()


def test_this_machines_gpu_or_the_reason_why_there_is_none() -> None:
    facts, why = gpu.gpu()
    assert bool(facts) != bool(why)


def test_all_steps_together_fit_the_time_or_are_cut() -> None:
    assert gpu.SECONDS == 480
    assert max(step.seconds for step in STEPS) < gpu.SECONDS
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_a_step_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hang = tmp_path / "python"
    hang.write_text("#!/bin/sh\nsleep 600\n")
    hang.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(hang))
    found = gpu.run(Step("training", "tests.gpu.training", 1), "cpu", True, 0.2)
    assert (found["status"], found["reason"]) == ("stopped", "it took longer than 0 s")


def test_a_step_that_dies_is_said_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.sys, "executable", "/bin/false")
    found = gpu.everything("cpu", True, ["training", "server"])
    assert [(one["step"], one["status"], one["reason"]) for one in found] == [
        ("training", "failed", "the process ended with code 1"),
        ("server", "failed", "the process ended with code 1"),
    ]


def test_what_comes_after_the_end_of_the_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SECONDS", 0)
    assert {one["reason"] for one in gpu.everything("cpu", True, None)} == {"0 s were over"}


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Skip("there is no such thing here"), "skipped", "there is no such thing here"),
        (ModuleNotFoundError("No module named 'vllm'"), "skipped", "not installed: No module named 'vllm'"),
        (ValueError("odd"), "failed", "ValueError: odd"),
    ],
)
def test_a_step_says_what_came_of_it(
    ends: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, status: str, reason: str
) -> None:
    def fails(device: str, small: bool) -> None:
        raise error

    monkeypatch.setattr(memory, "rows", fails)
    with pytest.raises(SystemExit):
        gpu.child("memory", "cpu", True, tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": status, "reason": reason}


@pytest.mark.parametrize("name", ["memory", "nccl", "vllm"])
def test_steps_in_this_process_run_on_a_cpu(ends: None, tmp_path: Path, name: str) -> None:
    with pytest.raises(SystemExit):
        gpu.child(name, "cpu", True, tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == ("skipped" if name == "vllm" else "ran"), result
    assert all(row["ok"] for row in result.get("rows", ()))


def test_energy_is_read_from_the_counters_that_there_are(ends: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.gpu import energy as step
    from workloads.bench import energy

    readings = iter([10.0, 13.0])
    monkeypatch.setattr(energy, "counters", lambda: [energy.EnergyCounter("nvml 0", lambda: next(readings))])
    (row,) = step.rows("cpu", True)
    assert (row["what"], row["joules"]) == ("nvml 0", 3.0)
    monkeypatch.setattr(energy, "counters", list)
    with pytest.raises(Skip, match="no energy counter"):
        step.rows("cpu", True)


def test_every_variant_is_compared_on_a_cpu_and_built_by_tensorrt_where_it_is() -> None:
    rows = {row["what"]: row for row in engines.rows("cpu", True)}
    assert set(rows) == {f"{v} {e}" for v in engines.VARIANTS for e in ("eager", "onnxruntime", "tensorrt")}
    for variant in ("fp32", "fp16", "int8", "2:4"):
        assert rows[f"{variant} onnxruntime"]["ok"], rows[f"{variant} onnxruntime"]
    assert "float8" in rows["fp8 onnxruntime"].get("why", "float8")  # the CPU has no such product
    for variant in engines.VARIANTS:
        row = rows[f"{variant} tensorrt"]
        assert row["ok"] or "not installed" in row["why"], row
    assert rows["2:4 tensorrt"].get("flags", ["SPARSE_WEIGHTS"]) == ["SPARSE_WEIGHTS"]


def test_outputs_that_are_away_are_no_success() -> None:
    import numpy as np

    y = np.array([[1.0, -2.0]], np.float32)
    assert engines.compared("x", 0.1, y, lambda: [y + 0.1], "cpu", True)["ok"]
    row = engines.compared("x", 0.1, y, lambda: [y + 0.3], "cpu", True)
    assert (row["ok"], row["away"]) == (False, 0.15)


@pytest.mark.parametrize(("name", "recipe", "strategy", "library"), training.RUNS)
def test_every_run_of_the_trainer_is_a_job_that_admission_takes(
    tmp_path: Path, name: str, recipe: dict[str, Any], strategy: str, library: str
) -> None:
    for small in (True, False):
        (tmp_path / "job.json").write_text(json.dumps(training.document(tmp_path, recipe, strategy, small)))
        assert read_job(tmp_path / "job.json", Overrides()).spec.strategy is not None


@pytest.mark.slow
def test_the_trainer_runs_on_a_cpu_and_says_what_needs_a_gpu() -> None:
    rows = {row["what"]: row for row in training.rows("cpu", True)}
    assert rows["bf16"]["ok"], rows
    assert rows["bf16 FSDP2"]["ok"], rows
    assert "fp16 needs a CUDA device" in rows["fp16 with a scaler"]["why"]


@pytest.mark.slow
def test_the_server_answers_on_a_cpu() -> None:
    (row,) = serving.rows("cpu", True)
    assert row["ok"], row
    assert row["rps"] > 0


def test_a_server_that_does_not_open_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such"), serving.served(tmp_path / "no-such.onnx", "torch", "cpu"):
        pass


def test_the_table_says_never_run_until_a_gpu_has_run_it(tmp_path: Path) -> None:
    result = tmp_path / "gpu.json"
    assert table(result).count("| never run |") == len(STEPS)
    machine = {"device": "cpu", "gpu": "H200", "torch": "2.13", "commit": "abc", "time": "2026-12-01T00:00:00"}
    steps = [
        {"step": "nccl", "status": "ran", "rows": [{"what": "nccl", "ok": True, "allReduceMs": 0.1}]},
        {"step": "vllm", "status": "skipped", "reason": "vLLM is not installed"},
        {"step": "server", "status": "ran", "rows": [{"what": "tensorrt", "ok": False, "why": "it gave no answer"}]},
    ]
    result.write_text(json.dumps({"machine": machine, "steps": steps}))
    assert table(result).count("| never run |") == len(STEPS)
    result.write_text(json.dumps({"machine": {**machine, "device": "cuda"}, "steps": steps}))
    text = table(result)
    assert "| nccl | nccl: allReduceMs 0.1 |" in text
    assert "| vllm | skipped: vLLM is not installed |" in text
    assert "| server | tensorrt: FAILED, it gave no answer |" in text
    assert text.endswith("On one H200, PyTorch 2.13, commit abc, 2026-12-01.\n")
