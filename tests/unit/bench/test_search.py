"""What a SearchJob asks of `bench`: figures of a model that nobody has trained, and the page of its trials."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.search.space import Constraint
from slipway.cli import report
from tests.unit.searchjob.refusals import RIGHT
from tests.unit.searchjob.world import World
from workloads.bench import front, untrained
from workloads.errors import BadInput

SIZE, FLOPS = "sizeMegabytes-onnxruntime-1", "flops-onnxruntime-1"
WANTED = [{"metric": "sizeMegabytes", "max": 1.0}, {"metric": "flops", "max": 1e9}]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    document = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "digits"}}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({**document, "spec": RIGHT["template"]}))
    return path


def test_a_model_is_measured_before_it_is_trained(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "last-words"
    monkeypatch.setenv("SLIPWAY_TERMINATION_LOG", str(words))
    options = ["--config", str(config), "--set", json.dumps({"recipe.model.width": 8}), "--measure", json.dumps(WANTED)]
    assert untrained.main(options) == 0
    told = json.loads(words.read_text())["figures"]
    # Convolutions and a layer of ten classes, as the digits have them.
    assert set(told) == {SIZE, FLOPS}
    assert told[FLOPS] == int(told[FLOPS]) > 10_000
    assert 0.001 < told[SIZE] < 1
    capsys.readouterr()
    options[3] = json.dumps({"recipe.model.width": 3})
    assert untrained.main(options) == 2
    assert "recipe.model.width: Input should be greater than or equal to 4" in capsys.readouterr().err


def test_what_is_compressed_while_it_is_trained_cannot_be_measured_before(config: Path) -> None:
    steps = [{"method": "channels", "amount": 0.5}]
    document = yaml.safe_load(config.read_text())
    document["spec"]["recipe"]["compression"] = steps
    config.write_text(yaml.safe_dump(document))
    with pytest.raises(BadInput, match=r"recipe\.compression"):
        untrained.measure(config, {}, [Constraint.model_validate(WANTED[0])])


def search() -> dict[str, Any]:
    world = World(algorithm="grid", maxTrials=12)
    world.run()
    return {**world.job, "kind": "SearchJob"}


def test_the_page_has_every_trial_and_the_front() -> None:
    page = front.page(search())
    assert len(re.findall("<tr>", page)) == 1 + 12
    assert "The best trial is s-8: accuracy 0.92." in page
    assert "p50Milliseconds on onnxruntime" in page
    assert page.count("<title>trial ") == 10, "a dot for each trial that was trained"


def test_slipway_draws_it_and_says_what_is_missing() -> None:
    assert b"The best trial is s-8" in report.drawn(search())
    with pytest.raises(report.UnreachableError, match="no trial that succeeded yet"):
        report.drawn({**search(), "status": {}})
