"""Explanation: each rung has a fate, a reason and the numbers behind it; nothing is run or written to tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.api.quantization.ladder import LADDER, Goal
from tests.unit.quantize import jobs
from workloads.quantize import command
from workloads.quantize.job import Overrides, read_job
from workloads.quantize.report import explanation

FLOAT = {"name": "float", "rung": "", "accuracy": 1.0, "sizeBytes": 400}


def candidate(name: str, rung: str, *, size: int = 100, speedup: float | None = 2.0, passed: bool = True) -> Any:
    figures = {"accuracy": 0.99, "sqnrDb": 30.0, "sizeBytes": size, "speedup": speedup}
    return {"name": name, "rung": rung, **figures, "passed": passed, "message": "drop 1 pt, limit 2 pt"}


def rung(name: str, *candidates: str, skipped: str = "", due: bool = False) -> Any:
    return {"rung": name, "candidates": list(candidates), "skipped": skipped, "due": due}


RUNGS = [
    rung("static-per-tensor", "static"),
    rung("static-per-channel", "wide"),
    rung("dynamic", "dynamic"),
    rung("fp8", skipped="no kernels"),
    rung("qat", due=True),
]
CANDIDATES = [
    FLOAT,
    candidate("static", "static-per-tensor", speedup=3.0),
    candidate("wide", "static-per-channel", passed=False),
    candidate("dynamic", "dynamic", size=120, speedup=1.5),
]


def test_each_rung_has_its_fate_with_numbers() -> None:
    found = {r.rung: r for r in explanation.reasons(RUNGS, CANDIDATES, "static", Goal.BALANCED, over=True)}
    verdicts = {name: reason.verdict for name, reason in found.items()}
    assert verdicts == {
        "static-per-tensor": "published",
        "static-per-channel": "refused",
        "dynamic": "passes",
        "fp8": "skipped",
        "qat": "not needed",
    }
    assert "of 2 that pass" in found["static-per-tensor"].why
    assert "4.00 times smaller and 3.00 times as fast" in found["static-per-tensor"].why
    assert "3.33 times smaller and 1.50 times as fast" in found["dynamic"].why
    assert "limit 2 pt" in found["static-per-channel"].why
    assert found["fp8"].why == "no kernels"
    assert "static passes" in found["qat"].why


def test_a_climb_that_is_not_over_promises_nothing() -> None:
    found = {r.rung: r.verdict for r in explanation.reasons(RUNGS, CANDIDATES, "static", Goal.BALANCED, over=False)}
    assert found["static-per-tensor"] == "passes"
    assert found["qat"] == "not tried yet"


def test_a_candidate_that_could_not_be_built_is_told_in_its_words() -> None:
    broken = {"name": "static", "rung": "static-per-tensor", "passed": False, "message": "could not be built: X"}
    (found,) = explanation.reasons(RUNGS[:1], [FLOAT, broken], None, None, over=True)
    assert found.verdict == "refused"
    assert "could not be built: X" in found.why


def told(capsys: pytest.CaptureFixture[str], document: Path) -> str:
    assert command.main(["--config", str(document), "--explain"]) == 0
    return capsys.readouterr().out


def test_a_job_that_has_not_begun(tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = jobs.document(tmp_path, digits, ladder=["smooth-quant", "dynamic"], weights={"bits": 4})
    words = told(capsys, document)
    assert "smooth-quant: skipped: it moves the difficulty" in words
    assert "dynamic: skipped: weights.bits asks for 4-bit weights" in words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.yaml"]


def test_a_job_that_is_done_tells_all_rungs(tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = jobs.document(tmp_path, digits, calibration={**jobs.DIGITS, "samples": 32, "methods": ["min-max"]})
    found = jobs.run(read_job(document, Overrides()))
    marked = [row.name for row in found.comparison if row.pareto]
    assert marked
    assert all(row.passed for row in found.comparison if row.pareto)
    capsys.readouterr()  # what the job itself said
    words = told(capsys, document)
    lines = [line for line in words.splitlines() if not line.startswith(" ")]
    assert {line.partition(":")[0] for line in lines} == set(LADDER)
    assert sum(": published: " in line for line in lines) == 1
    assert f"  {found.selected} passes: " in words
    # Its work folder is gone: the report in the artifact says the same.
    work = jobs.work_of(read_job(document, Overrides())).folder
    work.rename(work.with_name("elsewhere"))
    assert told(capsys, document) == words
