"""`python -m workloads plan`: the operator's own table, for a laptop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.trainingjob.strategy import choose
from tests.unit.trainingjob.pods.test_strategy import GIB, MODEL
from tests.unit.trainingjob.rendered import job_of, resources
from workloads.train.plan import main


def written(folder: Path, **spec: object) -> str:
    path = folder / "job.json"
    path.write_text(json.dumps({"metadata": {"name": "llm"}, "spec": {"trainer": {"command": ["train"]}, **spec}}))
    return str(path)


def test_it_takes_what_the_operator_would_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"launcher": "deepspeed", "numNodes": 2, "numProcPerNode": 8, "strategy": {"model": MODEL}}
    assert main(["--config", written(tmp_path, **spec), "--gpu-memory", "80Gi"]) == 0
    printed = capsys.readouterr().out.splitlines()
    status, _ = choose(job_of(**spec).spec, 80 * GIB)
    assert status is not None
    assert [line.split()[0] for line in printed if "<- Auto" in line] == [status.name]
    shown = [(line.split()[0], line.split()[1]) for line in printed[1:]]
    assert shown == [(row.name, f"{row.device_bytes / GIB:.1f}") for row in status.estimates]


def test_auto_processes_are_the_gpus_asked_for_as_the_operator_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It once said that only a cluster could tell."""
    spec = {"strategy": {"model": MODEL, "gpuMemory": "80Gi"}, "launcher": "deepspeed", "numNodes": 2}
    tables = []
    for asked in ({"numProcPerNode": 8}, {"trainer": {"command": ["train"], **resources(**{"nvidia.com/gpu": 8})}}):
        assert main(["--config", written(tmp_path, **spec, **asked)]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]


def test_nothing_fits_and_nothing_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"numProcPerNode": 1, "strategy": {"model": MODEL}}
    assert main(["--config", written(tmp_path, **spec), "--gpu-memory", "2Gi"]) == 1
    assert main(["--config", written(tmp_path, **spec)]) == 2
    assert "--gpu-memory" in capsys.readouterr().err
    assert main(["--config", written(tmp_path), "--gpu-memory", "2Gi"]) == 2
    assert "spec.strategy.model" in capsys.readouterr().err
