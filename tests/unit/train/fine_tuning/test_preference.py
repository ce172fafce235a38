"""Preference tuning: the loss as the paper has it, killed and resumed to the same bytes, nothing learned refused."""

import contextlib
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slipway.api.common.sources import DatasetChoice
from slipway.api.training.recipe import Recipe
from slipway.api.training.trainingjob import spec_problems
from tests.models.language import small
from tests.unit.train.fine_tuning.tuning import CAPITALS, job, lines, saved
from tests.unit.train.processes import train, wait_for
from workloads.data.texts import preferences
from workloads.data.texts.packing import IGNORED
from workloads.data.texts.preferences import BESIDE
from workloads.errors import BadInput
from workloads.train.tasks.preference import Preference, log_probabilities
from workloads.train.world import Place, World

ALONE = Place(0, 1, 0, 1)


def pairs(count: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"what is the capital of {land}, number {number}?",
            "chosen": f" the capital of {land} is {town}.",
            "rejected": f" the capital of {land} is a large house of {number}.",
        }
        for number in range(count)
        for land, town in CAPITALS.items()
    ]


def load(folder: Path, records: list[dict[str, Any]], **said: Any) -> preferences.PreferenceSet:
    choice = {"name": "preference", "uri": lines(folder / "pairs.jsonl", records), **said}
    made = DatasetChoice.model_validate(choice).model_copy(update={"tokenizer": small.folder().as_uri()})
    return preferences.load(made)


def task(data: preferences.PreferenceSet, smoothing: float = 0.0) -> Preference:
    return Preference(data, smoothing, beta=0.5)


def test_the_loss_is_that_of_the_paper(tmp_path: Path) -> None:
    """Two tokens of each answer over a vocabulary of two, by hand."""
    halves = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0], [math.log(4), 0.0], [0.0, math.log(7)]]])
    labels = [1, 0, 1, IGNORED]  # p: 3/4, 1/2 of the chosen answer; 1/5 of the rejected one
    references = np.array([[math.log(0.25), math.log(0.4)]])
    targets = torch.tensor([[*labels, 2, *references.view(np.int64)[0].tolist()]])
    chosen, rejected = log_probabilities(halves, targets)
    assert (float(chosen), float(rejected)) == pytest.approx((math.log(3 / 8), math.log(1 / 5)))
    margin = 0.5 * ((math.log(3 / 8) - math.log(0.25)) - (math.log(1 / 5) - math.log(0.4)))
    data = load(tmp_path, pairs(1))
    assert float(task(data).loss(halves, targets)) == pytest.approx(-math.log(1 / (1 + math.exp(-margin))))
    smoothed = 0.9 * math.log(1 + math.exp(-margin)) + 0.1 * math.log(1 + math.exp(margin))
    assert float(task(data, 0.1).loss(halves, targets)) == pytest.approx(smoothed)
    figures = task(data).figures(task(data).sums(halves, targets)).metrics
    assert (figures["accuracy"], figures["rewardMargin"]) == pytest.approx((1.0, margin))


def test_the_reference_is_the_model_before_the_first_step_and_a_step_is_a_mean_of_pairs(tmp_path: Path) -> None:
    from workloads.train.fine_tuning import causal_lm

    recipe = {"model": {"name": "causal-lm", "uri": small.folder().as_uri()}, "peft": {"r": 4, "loraDropout": 0.5}}
    recipe |= {"dataset": {"name": "preference", "uri": "file:///x"}, "epochs": 1, "globalBatchSize": 4}
    model = causal_lm.build(Recipe.model_validate(recipe), small.folder())
    data = load(tmp_path, pairs(1))
    made = task(data)
    made.refer(model, World(ALONE))
    rows, targets = (torch.from_numpy(one) for one in data.training.batch([0, 1, 2]))
    with torch.no_grad():
        margins = made.margins(model.eval()(rows), targets)
        assert margins.abs().max() < 1e-4
        parts = [(rows[:1], targets[:1]), (rows[1:], targets[1:])]
        made.begin(parts, World(ALONE))
        losses = [made.loss(model(inputs), wanted) for inputs, wanted in parts]
    assert float(sum(losses)) / 2 == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("shape", ["text", "messages", "prompt and messages", "prompt-completion"])
def test_a_pair_is_two_answers_that_do_not_see_each_other(shape: str, tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "what?"}]
    better, worse = ([{"role": "assistant", "content": words}] for words in ("that one", "this other one there"))
    record: dict[str, Any] = {
        "text": {"chosen": "that one", "rejected": "this other one there"},
        "messages": {"chosen": [*asked, *better], "rejected": [*asked, *worse]},
        "prompt and messages": {"prompt": asked, "chosen": better, "rejected": worse},
        "prompt-completion": {"prompt": "what?", "chosen": "that one", "rejected": "this other one there"},
    }[shape]
    data = load(tmp_path, [record, {**record, "chosen": record["rejected"], "rejected": record["chosen"]}])
    rows, targets = data.training.batch([0])
    border = int(targets[0, -BESIDE])
    assert set(rows[0, 1, :border]) == {1}
    assert set(rows[0, 1, border:]) <= {2, 0}
    learned = targets[0, :-BESIDE] != IGNORED
    assert learned[:border].any()
    assert learned[border:].any()


def test_pairs_that_teach_nothing_are_counted_and_none_at_all_is_refused(tmp_path: Path) -> None:
    same = [{"prompt": f"{number}?", "chosen": "yes", "rejected": "yes"} for number in range(8)]
    assert load(tmp_path, [*same, *pairs(1)]).counts.unlabelled >= 6
    with pytest.raises(BadInput, match="NothingToLearn"):
        load(tmp_path, same)
    with pytest.raises(BadInput, match="no rejected"):
        load(tmp_path, [{"prompt": f"{number}?", "chosen": "b"} for number in range(3)])


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"dataset": {"name": "sft", "uri": "file:///a/b"}, "preference": {}}, "preference learns from pairs"),
        ({"dataset": {"name": "preference", "uri": "file:///a/b", "packing": True}}, "packing is for sft"),
        ({"dataset": {"name": "preference", "uri": "file:///a/b"}, "preference": {"beta": 0}}, "beta"),
        ({"dataset": {"name": "preference"}}, "set uri"),
        ({"dataset": {"name": "preference", "uri": "file:///a/b"}, "model": {"name": "cnn"}}, "set both or neither"),
    ],
)
def test_what_does_not_fit_is_refused_at_admission(recipe: dict[str, Any], words: str) -> None:
    whole = {"model": {"name": "causal-lm", "uri": "file:///a/m"}, "epochs": 1, "globalBatchSize": 4, **recipe}
    _, problems = spec_problems("tune", {"recipe": whole})
    assert any(words in problem for problem in problems), problems


def tune(config: Path, killed_after: str = "") -> str:
    with train(config, 1, config.parent / "logs") as running:
        if killed_after:
            wait_for(
                lambda: running[0].process.exitcode is not None or saved(config, running[0].output, killed_after), "it"
            )
            with contextlib.suppress(ProcessLookupError):  # on a busy machine it may have ended by itself
                os.kill(running[0].process.pid, signal.SIGKILL)
        code = running[0].wait()
        assert killed_after or code == 0, running[0].output
        return running[0].output


def test_a_killed_run_ends_with_the_same_adapter_which_prefers_the_better_answers(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    data = {"name": "preference", "maxLength": 48}
    configs = []
    for folder in folders:
        uri = lines(folder / "pairs.jsonl", pairs())
        configs.append(job(folder, dataset={**data, "uri": uri}, preference={"beta": 0.5}))
    tune(configs[0])
    tune(configs[1], killed_after="epoch 1/2")
    again = tune(configs[1])
    assert "resumed from step" in again or "nothing left" in again
    ours, theirs = (load_file(folder / "model" / "adapter_model.safetensors") for folder in folders)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    metrics = json.loads((folders[0] / "model" / "artifact.json").read_text())["metrics"]
    assert metrics["lossBefore"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["loss"] < 0.3
    assert metrics["accuracy"] == 1.0
    assert metrics["rewardMargin"] > 1
