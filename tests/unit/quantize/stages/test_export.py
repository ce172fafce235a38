"""Torch to ONNX: compared with torch on real samples, and refused when it is another function."""

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from tests.unit.quantize.conftest import EVALUATION
from workloads import artifact
from workloads.errors import BadInput
from workloads.export import from_torch
from workloads.models.from_artifact import load_model
from workloads.onnx import file
from workloads.onnx import session as runtime
from workloads.onnx.feeds import Samples
from workloads.onnx.samples.sources import evaluation_samples
from workloads.quantize.run import run_stage


def samples_of(digits: Path, exported: Any) -> Samples:
    preprocessing = artifact.read(digits).description.preprocessing
    return evaluation_samples(EVALUATION, file.inputs_of(exported), preprocessing, want_labels=True)


def test_the_stage_says_how_near_it_is_to_torch(trained: Path, tmp_path: Path) -> None:
    job = jobs.job(tmp_path, trained)
    run_stage(job, jobs.quiet(), Stage.EXPORT, 0)
    said = jobs.work_of(job).require("source")["export"]
    assert re.fullmatch(r"exported to ONNX, equal to torch within \d\.\de-0[4-9] on 32 samples", said), said


def slightly_wrong(model: Any) -> Any:
    """One weight of the graph is a hundredth larger: no rounding does that."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    weight = next(tensor for tensor in other.graph.initializer if tensor.name.endswith("0.weight"))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
    return other


def test_the_stage_refuses_what_a_faulty_exporter_makes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = from_torch.export
    monkeypatch.setattr(from_torch, "export", lambda *given: slightly_wrong(right(*given)))
    job = jobs.job(tmp_path, trained)
    with pytest.raises(BadInput, match="not the same function"):
        run_stage(job, jobs.quiet(), Stage.EXPORT, 0)
    assert jobs.work_of(job).read("source") is None


def test_another_function_is_refused(digits: Path, exported: Any) -> None:
    module, _ = load_model(digits, None)
    other = slightly_wrong(exported)
    samples = samples_of(digits, exported)
    assert from_torch.compare_on(module, runtime.session(exported), samples).answers_equal == 1.0
    with pytest.raises(BadInput, match="not the same function: outputs differ by"):
        from_torch.compare_on(module, runtime.session(other), samples)


def test_any_length_of_batch(digits: Path, exported: Any) -> None:
    """The comparison calls with 1, 2 and 29 samples, so a length burnt into the graph cannot pass."""
    samples = samples_of(digits, exported)
    session = runtime.session(exported)
    assert session.get_inputs()[0].shape == ["batch", 1, 8, 8]
    for size in (1, 7, 64):
        feeds = samples.read(range(size)).feeds
        assert session.run(None, feeds)[0].shape == (size, 10)
