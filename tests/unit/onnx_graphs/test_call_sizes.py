"""Memory of evaluation: how many samples go into one call of a model that makes much of little?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from slipway.api.common.sources import DatasetChoice, DatasetName
from slipway.api.quantization.evaluation import Evaluation
from tests.unit.onnx_graphs.graphs import model, random, value
from tests.unit.quantize import jobs
from workloads import data
from workloads.measure import rss
from workloads.onnx import file
from workloads.onnx.samples.array_samples import ArraySamples
from workloads.onnx.samples.sources import evaluation_samples
from workloads.quantize.batches import budget
from workloads.quantize.job import Overrides, read_job
from workloads.quantize.run import _opened

MIB = 1 << 20
EACH = 4  # MiB that the graph makes of one sample, twice


@given(
    st.integers(1, 300), st.integers(1, 1 << 30), st.integers(0, 1 << 20), st.integers(1, 1 << 20), st.integers(0, 3)
)
def test_a_call_is_as_large_as_the_budget_allows(most: int, limit: int, base: int, each: int, held: int) -> None:
    made = []

    def call(size: int) -> int:
        made.append(size)
        return base + each * (size + held)

    found = budget.size_for(call, most, limit)
    assert 1 <= found <= most
    assert found == 1 or base + each * (found + held) <= limit
    assert max(made) <= most
    assert found == most or 2 * (base + each * (found + held)) > limit
    assert all(base + each * (size + held) <= limit for size in made[1:])


def large_inside(shape: list[Any]) -> Any:
    """A picture or row, repeated to EACH MiB, and its mean."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], "flat"),
        helper.make_node("Unsqueeze", ["flat", "two"], ["column"], "column"),
        helper.make_node("Expand", ["column", "wide"], ["large"], "expand"),
        helper.make_node("Exp", ["large"], ["larger"], "exp"),
        helper.make_node("ReduceMean", ["larger"], ["mean"], "mean", axes=[2], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["y"], "product"),
    ]
    count = int(np.prod(shape[1:]))
    weights = {"two": np.array([2]), "wide": np.array([1, 1, EACH * MIB // 4 // count]), "w": random(count, 4, seed=1)}
    return model(nodes, [value("x", shape)], [value("y", ["batch", 4])], weights)


def test_calls_of_pictures_stay_within_the_budget() -> None:
    graph = large_inside(["batch", 1, 8, 8])
    choice = DatasetChoice(name=DatasetName.DIGITS)
    preprocessing = data.load(choice).preprocessing
    samples = evaluation_samples(
        Evaluation(dataset=choice), file.inputs_of(graph), preprocessing, None, want_labels=True
    )
    found = budget.measured(graph, samples, range(256), 256, 96 * MIB)
    assert 2 <= found <= 96 // EACH
    assert budget.measured(graph, samples, range(8), 256, budget.BUDGET) == 8


def test_the_largest_of_samples_of_several_lengths_is_measured(tmp_path: Path) -> None:
    for length in (16, 16 << 4):
        np.savez(tmp_path / f"{length:05}.npz", x=random(32, length))
    graph = model(
        [
            helper.make_node("Unsqueeze", ["x", "two"], ["column"], "column"),
            helper.make_node("Expand", ["column", "wide"], ["large"], "expand"),
            helper.make_node("ReduceMean", ["large"], ["y"], "mean", axes=[1, 2], keepdims=0),
        ],
        [value("x", ["batch", "length"])],
        [value("y", ["batch"])],
        {"two": np.array([2]), "wide": np.array([1, 1, 1 << 12])},
    )
    samples = ArraySamples(sorted(tmp_path.iterdir()), file.inputs_of(graph), "two lengths", want_labels=False)
    assert budget.measured(graph, samples, range(64), 64, 64 * MIB) <= 16  # 4 MiB each, the shorter ones a sixteenth


@pytest.mark.parametrize(("limit", "large"), [(48, False), (4096, True)])
def test_a_jobs_evaluation_keeps_to_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, *, large: bool
) -> None:
    import onnx

    monkeypatch.setattr(budget, "BUDGET", limit * MIB)
    onnx.save(large_inside(["batch", 16]), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=random(64, 16))
    there = {"uri": (tmp_path / "data.npz").as_uri()}
    fields = {"calibration": None, "evaluation": {**there, "metric": "agreement"}, "ladder": ["weight-only-int8"]}
    jobs.run(jobs.job(tmp_path / "job", tmp_path / "model.onnx", **fields))
    context = _opened(read_job(tmp_path / "job" / "job.yaml", Overrides()), jobs.quiet(), shards=1)
    sizes = {len(batch) for batch in context.evaluation_batches()}
    assert (max(sizes) == 64) == large
    assert large or max(sizes) <= limit // EACH
    assert sum(map(len, context.evaluation_batches())) == 64


GROWTH = """
import numpy as np
from workloads.measure import rss
begin = rss.resident()
held = np.ones(64 << 20, np.uint8)
rss.say(rss.peak_growth(lambda: np.ones(32 << 20, np.uint8), above=begin))
"""


def test_growth_is_counted_from_where_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: one that has run other tests gives room back while it works."""
    (tmp_path / "grows.py").write_text(GROWTH)
    monkeypatch.syspath_prepend(str(tmp_path))
    grown = rss.in_fresh_process("grows")
    assert grown is not None
    assert grown > 90 * MIB  # both, where the second alone would be 32
