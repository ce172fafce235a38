"""Plain torch data sets of users: the examples of the documents run, and what cannot be taken is refused."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from tests.unit.train.runs import runs
from workloads import data
from workloads.data.own_dataset import ArraySet
from workloads.data.sample_order import TrainingSamples
from workloads.errors import BadInput

ROOT = Path(__file__).parents[4]


def example(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the documents' blocks as a module that can be imported."""
    section = (ROOT / "docs/training.md").read_text().partition("## A data set of your own")[2].partition("\n## ")[0]
    name = f"documented_{number}"
    (folder / f"{name}.py").write_text(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[number])
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return name


def custom(callable_: str, **arguments: str) -> DatasetChoice:
    return DatasetChoice.model_validate({"name": "custom", "callable": callable_, "arguments": arguments})


def train(folder: Path, **recipe: Any) -> dict[str, Any]:
    """Train in a process that finds the folder's modules; returns artifact.json."""
    config = runs.write(folder, "single", gradientClipping=None, **recipe)
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT / 'operator'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "workloads", "train", "--config", str(config)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "model/artifact.json").read_text())
    return found


def test_pictures_of_an_own_data_set_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = data.open_set(custom(f"{example(0, tmp_path, monkeypatch)}:Stripes"))
    assert isinstance(found, data.DataSet)
    assert (len(found.training), len(found.held_out), found.labels) == (160, 40, ("lying", "standing"))
    pixels, labels = found.training.batch([0, 1, 2])
    assert (pixels.dtype, pixels.shape, labels.dtype) == (np.uint8, (3, 3, 16, 16), np.int64)


def test_rows_of_an_own_data_set_are_learned_by_an_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = example(1, tmp_path, monkeypatch)
    found = train(
        tmp_path,
        task="regression",
        model={"name": "custom", "callable": f"{name}:estimate"},
        dataset={"name": "custom", "callable": f"{name}:Houses"},
        globalBatchSize=16,
        epochs=10,
        optimizer={"name": "adamw", "learningRate": 0.1},
    )
    assert (found["task"], found["labels"]) == ("regression", ["price"])
    assert found["metrics"]["r2"] > 0.9
    assert found["signature"]["inputs"][0]["shape"] == ["batch", 2]


def test_what_is_drawn_at_random_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run saw other changes than the one that was killed: they came from a generator that nobody saved."""
    choice = custom(f"{example(2, tmp_path, monkeypatch)}:tones", count="96")
    found = data.open_set(choice, TrainingTask.MULTI_LABEL)
    assert isinstance(found, ArraySet)
    assert (len(found.training), len(found.held_out), found.shape) == (96, 24, (1, 8, 8))
    samples = TrainingSamples(found.training, found.augmentation, 3)
    seen = []
    for epoch, before in ((0, 1), (1, 2), (0, 99)):
        torch.manual_seed(before)
        samples.epoch = epoch
        seen.append(samples.__getitems__([3, 7])[0])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])
    state = torch.get_rng_state()
    samples.__getitems__([1])
    assert torch.equal(torch.get_rng_state(), state)  # dropout's numbers are none of its business
    np.testing.assert_array_equal(found.held_out.batch([2])[0], found.held_out.batch([2])[0])


class Odd:
    """Samples of a form."""

    classes = ("a", "b")

    def __init__(self, form: str) -> None:
        self.form = form
        if form == "nameless":
            self.classes = ()  # type: ignore[assignment]

    def __len__(self) -> int:
        return 0 if self.form == "empty" else 10

    def __getitem__(self, index: int) -> Any:
        forms: dict[str, Any] = {
            "single": np.zeros(3, np.float32),
            "tokens": (np.zeros(3, np.int64), 0),
            "class": (np.zeros(3, np.float32), 2),
            "float": (np.zeros(3, np.float32), 0.5),
            "channels": (np.zeros((9, 9, 9), np.uint8), 0),
            "shapes": (np.zeros(3 + index, np.float32), 0),
        }
        return forms.get(self.form, (np.zeros(3, np.float32), 0))


class Endless:
    """An iterable data set."""

    def __iter__(self) -> Any:
        yield from ()


WORDS = {
    "single": "is a ndarray: return a sample and its target",
    "tokens": "for tokens return workloads.data's TextSet",
    "class": "the target of sample . is 2, and there are 2 classes, from 0 on",
    "float": "none of task classification: set recipe.task",
    "channels": "a picture has 1 or 3 channels",
    "shapes": "bring all to one shape in __getitem__",
    "empty": "there is no sample in it",
    "nameless": "give the Dataset an attribute `classes`",
}


@pytest.mark.parametrize("form", WORDS)
def test_samples_that_nobody_can_learn_are_refused_in_words(form: str) -> None:
    with pytest.raises(BadInput, match=WORDS[form]):
        data.open_set(custom(f"{__name__}:Odd", form=form)).training.batch([0, 1])


def test_an_iterable_data_set_is_refused() -> None:
    with pytest.raises(BadInput, match="Endless: expected a map-style torch Dataset"):
        data.open_set(custom(f"{__name__}:Endless"))
