"""Optuna's suggestions: within the space, new, by the trials that there are; in a process that cannot hold the loop."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from slipway.api.search.searchjob import SearchJobSpec
from slipway.api.search.status import TrialState
from slipway.runtime.client.errors import Transient
from slipway.searchjob.record import Record
from slipway.searchjob.sampler import suggest
from slipway.searchjob.suggestions import Suggestions
from tests.unit.api.manifests import merged
from tests.unit.searchjob.refusals import RIGHT

KEY = "p50Milliseconds-onnxruntime-1"
SPACE = [
    {"path": "recipe.model.width", "int": {"min": 4, "max": 104}},
    {"path": "recipe.optimizer.learningRate", "float": {"min": 0.001, "max": 1.0, "log": True}},
    {"path": "recipe.optimizer.name", "categorical": ["sgd", "adamw"]},
]


def spec(algorithm: str, **more: Any) -> SearchJobSpec:
    return SearchJobSpec.model_validate(merged(RIGHT, {"algorithm": algorithm, "maxTrials": 40, **more}))


def play(asked: SearchJobSpec, trials: int) -> list[Record]:
    """Trials one by one: width is accuracy and milliseconds at once, of which 52 are the most."""
    records: list[Record] = []
    for number in range(trials):
        point = suggest(asked, records, 1)[0]
        width = float(point["recipe.model.width"])
        state = TrialState.PRUNED if width > 52 else TrialState.SUCCEEDED
        value = width / 100 if state is TrialState.SUCCEEDED else None
        records.append(Record(number, state, point, value, {KEY: width}))
    return records


@pytest.mark.parametrize("algorithm", ["tpe", "random", "nsga2", "hyperband"])
def test_suggestions_are_within_the_space_and_new(algorithm: str) -> None:
    records = play(spec(algorithm, parameters=SPACE, constraints=[{"metric": "p50Milliseconds", "max": 52.0}]), 12)
    for record in records:
        assert 4 <= record.parameters["recipe.model.width"] <= 104  # type: ignore[operator]
        assert 0.001 <= record.parameters["recipe.optimizer.learningRate"] <= 1  # type: ignore[operator]
        assert record.parameters["recipe.optimizer.name"] in ("sgd", "adamw")
    assert len({str(record.parameters) for record in records}) == 12


def test_a_small_space_is_used_up_without_a_repetition() -> None:
    records = play(spec("tpe", constraints=[]), 16)
    assert len({str(record.parameters) for record in records}) == 16
    assert suggest(spec("tpe"), records, 3) == []


def test_tpe_learns_what_is_too_slow_from_trials_that_were_never_trained() -> None:
    """The same trials, once with and once without the figures by which they were pruned."""
    limits = {"parameters": SPACE[:1], "constraints": [{"metric": "p50Milliseconds", "max": 52.0}], "maxTrials": 60}
    over = [
        sum(r.state is TrialState.PRUNED for r in play(spec(name, **limits), 40)[10:]) for name in ("tpe", "random")
    ]
    assert over[0] < over[1], over


def test_generations_of_nsga2_outlive_the_process() -> None:
    """A study that is rebuilt knows which generation each trial was of: else every one were the first, of chance."""
    limits = {"parameters": SPACE[:2], "constraints": [{"metric": "p50Milliseconds", "max": 200.0}], "maxTrials": 16}
    asked = spec("nsga2", **limits)
    records = [
        Record(i, TrialState.SUCCEEDED, {"recipe.model.width": 50, "recipe.optimizer.learningRate": 0.5 + i / 1000},
               0.9, {KEY: 50.0})
        for i in range(4)
    ]  # fmt: skip
    widths = [point["recipe.model.width"] for point in suggest(asked, records, 8)]
    assert widths.count(50) >= 2, widths


def test_the_operators_memory_holds_no_arithmetic() -> None:
    lean = "import slipway.searchjob.reconcile, sys; sys.exit(not {'optuna', 'numpy'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", lean], check=False).returncode == 0


async def test_it_runs_in_a_process_of_its_own_and_says_what_goes_wrong() -> None:
    wire = merged(RIGHT, {"algorithm": "tpe"})
    found = await Suggestions().ask(wire, [], 2)
    assert len(found) == 2
    assert set(found[0]) == {"recipe.model.width", "recipe.optimizer.name"}
    with pytest.raises(Transient, match="no parameters were chosen within"):
        await Suggestions([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.1).ask(wire, [], 1)
    absent = [sys.executable, "-c", "import sys; sys.exit(\"No module named 'optuna'\")"]
    with pytest.raises(Transient, match="install the extra `search`"):
        await Suggestions(absent).ask(wire, [], 1)
