"""A circuit's C++ model, compiled and judged: a whole job, and what its parts compute."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slipway.api.quantization.fpga import Fpga
from slipway.api.quantization.settings import CalibrationMethod
from slipway.api.quantization.status import Outcome
from tests.unit.quantize import jobs
from tests.unit.quantize.hls.networks import FPGA, convolutional, dense, digits, pictures, saved
from workloads import artifact
from workloads.onnx import hls, session
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.ranges import find
from workloads.quantize.calibration.scale import UINT8, Range
from workloads.quantize.hls import plan, project
from workloads.quantize.hls.chain import chain_of

pytest.importorskip("hls4ml")
pytestmark = pytest.mark.skipif(shutil.which(hls.COMPILER) is None, reason="no g++ here")


def test_a_dense_network_becomes_a_project_that_passes_its_gate(tmp_path: Path) -> None:
    x, y = digits()
    source, data = saved(tmp_path, dense(8), x[1200:1400], y[1200:1400])
    fpga = {**FPGA, "dsps": 100, "perLayer": [{"name": "dense2", "precision": "ap_fixed<12,5>"}]}
    fields = {"calibration": data, "evaluation": {**data, "metric": "top-1"}, "onFailure": "fail"}
    found = jobs.run(jobs.job(tmp_path / "job", source, target={"runtime": "hls", "fpga": fpga}, **fields))
    assert (found.outcome, found.selected) == (Outcome.QUANTIZED, "static-per-tensor-8-bit")
    stored = artifact.read((tmp_path / "job/out").as_uri())
    assert {"model.tgz", "report.json", "report.html"} <= {file.path for file in stored.description.files}
    report = json.loads((stored.folder / "report.json").read_text())
    circuit = report["circuit"]
    assert circuit["estimate"] is True
    assert circuit["dsps"] <= circuit["dspsOfPart"] == 100
    assert [layer["weights"] for layer in circuit["layers"]][1] == "ap_fixed<12,5>"
    assert report["candidates"][1]["sizeBytes"] == (64 * 8 * 8 + 8 * 10 * 12) / 8
    assert "no synthesis was run" in (stored.folder / "report.html").read_text()
    assert any("C++ model" in words for words in report["warnings"])
    with tarfile.open(stored.folder / "model.tgz") as tar:
        names = tar.getnames()
    assert {"circuit/build_prj.tcl", "circuit/firmware/circuit.cpp", "circuit/firmware/weights/w2.h"} <= set(names)


def test_the_archive_of_a_plan_is_the_same_each_time_and_says_what_was_asked(tmp_path: Path) -> None:
    chain = chain_of(dense(8))
    made = plan.planned(chain, Fpga(part="xc7z020clg400-1", clock=4), 8, {"x": Range(0.0, 1.0)})
    first, second = project.archive(chain, made), project.archive(chain, made)
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        tar.extractall(tmp_path, filter="data")
    script = (tmp_path / "circuit/project.tcl").read_text()
    assert {"xc7z020clg400-1", "4"} <= set(re.findall(r"[\w-]+", script))
    assert set(yaml.safe_load((tmp_path / "circuit/hls4ml_config.yml").read_text())) >= {"HLSConfig", "Part"}
    parameters = (tmp_path / "circuit/firmware/parameters.h").read_text()
    for layer in made.layers:
        assert f"reuse_factor = {layer.factor};" in parameters


@pytest.mark.slow
def test_convolutions_are_judged_like_any_other_candidate(tmp_path: Path) -> None:
    source, data = saved(tmp_path, convolutional(), pictures(200))
    target = {"runtime": "hls", "fpga": {"part": "xcku040-ffva1156-2-e"}}
    fields = {"calibration": data, "evaluation": {**data, "metric": "agreement"}, "onFailure": "fail"}
    found = jobs.run(jobs.job(tmp_path / "job", source, target=target, **fields))
    assert found.outcome is Outcome.QUANTIZED
    report = json.loads((tmp_path / "job/out/report.json").read_text())
    assert [layer["name"] for layer in report["circuit"]["layers"]] == ["conv1", "dense1"]
    assert report["candidates"][-1]["agreement"] > 0.98


@pytest.mark.slow
def test_the_wider_the_numbers_the_nearer_the_answers() -> None:
    """In processes of their own: as libraries of one process, circuits of the same names shared tables, and died."""
    x, chain = pictures(50), chain_of(convolutional())
    wanted = session.session(convolutional()).run(None, {"x": x})[0]
    statistics: dict[str, Any] = {}
    Observer(convolutional()).observe({"x": x}, statistics)
    seen = {name: find(tensor, CalibrationMethod.MIN_MAX, UINT8, 99.99) for name, tensor in statistics.items()}
    errors = []
    for bits in (8, 12, 16):
        circuit = plan.planned(chain, Fpga(part="xcku115-flvb2104-2-i"), bits, seen)
        found = session.session(project.archive(chain, circuit)).run(None, {"x": x})[0]
        errors.append(float(np.abs(found - wanted).max()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02
