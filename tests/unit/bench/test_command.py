"""`python -m workloads bench` on real files and real engines: figures, tables, and refusals in words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.serve import artifacts, onnx_models
from workloads.bench.energy import counters
from workloads.measure import rss

REPOSITORY = Path(__file__).resolve().parents[3]


def run(*arguments: str, where: Path | None = None) -> subprocess.CompletedProcess[str]:
    """In a process of its own: engines that other tests have loaded do not bear these beside them, and one crashed."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}", "COLUMNS": "200"}
    command = [sys.executable, "-m", "workloads", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=where)


def bench(*arguments: str) -> dict:
    done = run(*arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


WEIGHTS = 16 << 20


def memory(path: str, engine: str) -> int:
    """Bytes as `bench` measures them. What the kernel takes back of libraries meanwhile makes them too few at times."""
    return rss.in_fresh_process("workloads.bench.memory", path, engine, "1", "4") or 0


def test_models_side_by_side_on_every_engine_that_takes_them(tmp_path: Path) -> None:
    """A model of a hundred times the arithmetic is slower in the same run, takes more memory, and is a larger file."""
    small = str(onnx_models.mlp(tmp_path / "small.onnx", (256, 64, 10)))
    large = str(onnx_models.mlp(tmp_path / "large.onnx", (256, 2048, 2048, 10)))
    report = bench(small, large, "--threads", "1", "--batch-size", "4", "--rounds", "30", "--warmup", "3")
    rows = {(row["model"], row["engine"]): row for row in report["rows"]}
    assert set(rows) == {(model, engine) for model in (small, large) for engine in ("onnxruntime", "openvino")}
    for engine in ("onnxruntime", "openvino"):
        one, other = rows[small, engine], rows[large, engine]
        assert one["p50Ms"] < other["p50Ms"]
        assert one["p50Ms"] <= one["p99Ms"]
        assert one["batchSize"] == other["batchSize"] == 4
        assert other["timesAsFastAsFirst"]["median"] < 1
        assert other["memoryBytes"] > WEIGHTS or any(memory(large, engine) > WEIGHTS for _ in range(5))
        assert other["fileBytes"] > 20 * one["fileBytes"]
    assert rows[small, "onnxruntime"]["timesAsFastAsFirst"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    flops = {model["model"]: model["flops"] for model in report["models"]}
    assert flops == {small: 2 * (256 * 64 + 640), large: 2 * (256 * 2048 + 2048 * 2048 + 20480)}
    assert {(one["model"], one["engine"]) for one in report["notMeasured"]} >= {(small, "torch"), (small, "litert")}
    if not counters():
        assert report["energy"] == "not reported by this machine"
        assert all(row["joulesPerSample"] is None for row in report["rows"])


def test_an_artifact_of_torch_as_a_table(tmp_path: Path) -> None:
    folder, _ = artifacts.small_cnn(tmp_path / "model")
    done = run(str(folder), "--engine", "torch", "--threads", "1", "--rounds", "5")
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert "threads: 1, samples of a call: 1" in shown
    assert re.search(r"model +torch", shown)
    assert "18,240" in shown  # FLOPs, as test_count has them by hand


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.onnx"], "there is nothing at"),
        (["m.onnx", "--engine", "warp"], "no engine warp"),
        (["m.onnx", "--engine", "onnxruntime,torch"], "torch needs model.safetensors"),
        (["broken.onnx"], "ONNX Runtime cannot read it"),
        (["empty"], "neither a model artifact"),
    ],
)
def test_refusals_are_words_and_exit_code_2(tmp_path: Path, arguments, words) -> None:
    onnx_models.mlp(tmp_path / "m.onnx", (4, 4))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    done = run(*arguments, "--threads", "1", "--rounds", "2", where=tmp_path)
    assert words in done.stderr
    assert done.returncode == (1 if "broken" in arguments[0] else 2)  # a damaged file may be whole elsewhere


def test_litert_where_it_is(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    litert_torch = pytest.importorskip("litert_torch")
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU())
    litert_torch.convert(module.eval(), (torch.zeros(1, 16),)).export(str(tmp_path / "m.tflite"))
    (row,) = bench(str(tmp_path / "m.tflite"), "--threads", "1", "--batch-size", "2", "--rounds", "5")["rows"]
    assert row["engine"] == "litert"
    assert row["batchSize"] == 2
