"""Models over 2 GB: held by their graph alone, quantized constant by constant, published with external data.

What is large is a number; here it is a small one, so that the same code runs on what CI can afford.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.api.quantization.status import Outcome
from tests.perf.quantizing import large_model
from tests.unit.onnx_graphs.graphs import model, random, value
from tests.unit.quantize import jobs
from workloads.errors import BadInput
from workloads.onnx import external_data
from workloads.onnx import file as onnx_file
from workloads.onnx import session as runtime
from workloads.quantize.algorithms.qdq import weight_only, weight_only_outside
from workloads.quantize.ladder.rungs import climbed

WIDTH = 192  # 147 kB a weight: enough to stay outside


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "ONE_MESSAGE", 1 << 16)


def graph() -> Any:
    """A table, a convolution, products of both kinds: every axis that counts outputs."""
    make = helper.make_node
    nodes = [
        make("MatMul", ["x", "w1"], ["a"], "first"),
        make("Reshape", ["a", "shape"], ["i"], "image"),
        make("Conv", ["i", "w2"], ["c"], "conv"),
        make("Flatten", ["c"], ["f"], "flat"),
        make("Gemm", ["f", "w3", "b3"], ["g"], "gemm", transB=1, alpha=0.5),
        make("Reshape", ["g", "wide"], ["e"], "rows"),
        make("Add", ["e", "table"], ["h"], "add"),
        make("ReduceMean", ["h"], ["y"], "mean", axes=[1], keepdims=0),
    ]
    weights = {
        "w1": random(WIDTH, WIDTH, seed=1, scale=0.1),
        "shape": np.array([-1, WIDTH, 1, 1], np.int64),
        "wide": np.array([-1, 1, WIDTH], np.int64),
        "w2": random(WIDTH, WIDTH, 1, 1, seed=2, scale=0.1),
        "w3": random(WIDTH, WIDTH, seed=3, scale=0.1),
        "b3": random(WIDTH, seed=4),
        "table": random(1, WIDTH, WIDTH, seed=5),
    }
    return model(nodes, [value("x", ["n", WIDTH])], [value("y", ["n", WIDTH])], weights)


def split(folder: Path, given: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    copied = onnx.ModelProto.FromString(given.SerializeToString())
    onnx.save(copied, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    np.savez(folder / "data.npz", x=random(40, WIDTH))
    return folder / "m.onnx"


def job(folder: Path, path: Path, **spec: Any) -> Any:
    data = {"uri": (path.parent / "data.npz").as_uri()}
    evaluation = {**data, "metric": "agreement", "task": "closeness"}
    # By size: with the default goal a machine on which int8 is slower than it is smaller publishes the float model.
    given = {"calibration": data, "evaluation": evaluation, "optimizeFor": "size"}
    return jobs.job(folder / "job", path, **{**given, **spec})


def answers(path: Path, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.usefixtures("small")
def test_a_job_over_a_model_that_is_not_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened, seen = split(tmp_path, graph()), runtime.session, []

    def session(of: Any, **options: Any) -> Any:
        if of.graph.name != "peak":  # a product of the machine's own measure, once for each process
            seen.append(of.ByteSize())
        return opened(of, **options)

    monkeypatch.setattr(runtime, "session", session)
    made = job(tmp_path, path)
    found = jobs.run(made)
    assert found.outcome is Outcome.QUANTIZED
    assert found.selected == "weight-only-int8"
    assert seen
    # Graph and small constants: no weight, in none of the sessions of any stage.
    assert max(seen) < 4 * WIDTH * WIDTH
    work = jobs.work_of(made)
    for rung in ("static-per-tensor", "static-per-channel", "dynamic"):
        record = climbed(work, rung)
        assert record is not None
        assert "over 2 GB" in record.skipped
    rows = {row.name: row.size_bytes or 0 for row in found.comparison}
    assert rows["float"] > 4 * 4 * WIDTH * WIDTH  # its constants count
    assert rows["weight-only-int8"] < 0.6 * rows["float"]


@pytest.mark.usefixtures("small")
def test_what_is_published_is_whole_and_answers_as_the_float_model(tmp_path: Path) -> None:
    path, x = split(tmp_path, graph()), random(8, WIDTH, seed=9)
    made = job(tmp_path, path)
    jobs.run(made)
    out = tmp_path / "job" / "out"
    (tmp_path / "job" / "out").rename(tmp_path / "moved")
    given, found = runtime.session(graph()).run(None, {"x": x})[0], answers(tmp_path / "moved" / "model.onnx", x)
    assert np.abs(given - found).max() < 0.05 * np.abs(given).max()
    from workloads import artifact

    (tmp_path / "moved").rename(out)
    listed = {file.path for file in artifact.read(out.as_uri()).description.files}
    assert {"model.onnx", "weight-only-int8.onnx.data"} <= listed
    # A second run finds it published, by all of its files.
    before = artifact.read(out.as_uri()).digest
    (next((tmp_path / "job").rglob("published.json"))).unlink()
    assert jobs.run(made).artifact.digest == before  # type: ignore[union-attr]


@pytest.mark.usefixtures("small")
def test_integers_from_files_are_those_from_memory(tmp_path: Path) -> None:
    whole, path = graph(), split(tmp_path, graph())
    nodes = ["first", "conv", "gemm"]
    expected = weight_only(whole, 8, nodes)
    part = external_data.PART
    try:
        external_data.PART = 10_000  # many slices of each
        found = weight_only_outside(onnx_file.load(path), nodes, tmp_path / "q.onnx.data")
    finally:
        external_data.PART = part
    assert expected is not None
    assert found is not None
    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in expected.graph.initializer}
    assert {tensor.name for tensor in found.graph.initializer} == set(wanted)
    wanted["w3_int8"] = wanted["w3_int8"].T  # in memory a Gemm's weight is turned, in files it stays as it lies
    for tensor in found.graph.initializer:
        np.testing.assert_array_equal(external_data.values(tensor), wanted[tensor.name])


@pytest.mark.usefixtures("small")
def test_a_weight_that_is_no_number_is_found_in_its_file(tmp_path: Path) -> None:
    spoilt = graph()
    values = random(WIDTH, WIDTH)
    values[-1, -1] = np.nan
    spoilt.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w1"))
    with pytest.raises(BadInput, match="weight w1 holds NaN"):
        jobs.run(job(tmp_path, split(tmp_path, spoilt)))


@pytest.mark.usefixtures("small")
def test_half_precision_over_2_gb_is_refused_in_words(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "narrow", to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "w"], ["p"], "product"),
        helper.make_node("Cast", ["p"], ["y"], "widen", to=TensorProto.FLOAT),
    ]
    weights = {"w": random(WIDTH, WIDTH).astype(np.float16)}
    half = model(nodes, [value("x", ["n", WIDTH])], [value("y", ["n", WIDTH])], weights)
    with pytest.raises(BadInput, match=r"float16.*over 2 GB|over 2 GB.*float16"):
        jobs.run(job(tmp_path, split(tmp_path, half)))


@pytest.mark.slow
def test_2_4_gb_go_through_within_one_and_a_half_times_their_size(tmp_path: Path) -> None:
    row = large_model.measured(tmp_path, layers=36, width=4096, limit=onnx_file.ONE_MESSAGE)
    assert row["selected"] == "weight-only-int8"
    assert row["peakOverModel"] < 1.5
