"""Figures of regression, several labels and masks against other people's definitions, whatever the batches."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.artifact import DatasetReference, Preprocessing
from slipway.api.training.learning.task import TrainingTask
from workloads.data.datasets import Augmentation, DataSet, InMemory
from workloads.data.sample_order import NOTHING, TrainingSamples
from workloads.data.targets import Spread, targets_of
from workloads.errors import BadInput
from workloads.models import outputs
from workloads.serve.web import answers
from workloads.train.tasks.multi_label import MultiLabel
from workloads.train.tasks.regress import Regression
from workloads.train.tasks.segment import Segmentation

CPU = torch.device("cpu")
REFERENCE = DatasetReference(name="own", digest=f"sha256:{'0' * 64}", training_samples=1, held_out_samples=1)


class Same:
    """Inputs as they are."""

    tokens = 0

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return batch


def added(task: Any, outputs: torch.Tensor, targets: torch.Tensor, cut: int) -> Any:
    """Figures of two batches."""
    parts = [task.sums(outputs[a:b], targets[a:b]) for a, b in ((0, cut), (cut, len(outputs))) if a < b]
    return task.figures([sum(values) for values in zip(*parts, strict=True)]).metrics


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_regression_is_scikit_learns(seed: int, cut: int) -> None:
    from sklearn import metrics

    random = np.random.RandomState(seed)
    true = 1e6 + 3 * random.randn(30, 2)
    found = true + random.randn(30, 2)
    task = Regression(Same(), Spread(tuple(true.mean(0)), tuple(true.std(0))), CPU)  # type: ignore[arg-type]
    said = added(task, torch.from_numpy(found), torch.from_numpy(true), cut)
    narrow, answer = true.astype(np.float32), found.astype(np.float32)
    assert said["mae"] == pytest.approx(metrics.mean_absolute_error(narrow, answer), rel=1e-3)
    assert said["r2"] == pytest.approx(metrics.r2_score(narrow, answer), abs=2e-2)
    assert said["samples"] == 30


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_labels_are_judged_as_scikit_learn_does(seed: int, cut: int) -> None:
    from sklearn import metrics

    random = np.random.RandomState(seed)
    true = (random.rand(40, 3) < 0.4).astype(np.int64)
    true[0] = 1
    logits = (random.randn(40, 3) + true).astype(np.float32)
    said = added(MultiLabel(Same(), 3), torch.from_numpy(logits), torch.from_numpy(true), cut)  # type: ignore[arg-type]
    found = logits > 0
    assert said["f1"] == pytest.approx(metrics.f1_score(true, found, average="micro", zero_division=0))
    assert said["f1Macro"] == pytest.approx(metrics.f1_score(true, found, average="macro", zero_division=0))
    exact = metrics.average_precision_score(true, logits, average="macro")
    assert said["meanAveragePrecision"] == pytest.approx(exact, abs=0.05)


def masks(classes: int, side: int = 4) -> DataSet:
    shape = Preprocessing(channels=3, height=side, width=side, mean=[0.5], std=[0.5])
    nothing = InMemory(np.zeros((1, 3, side, side), np.uint8), np.zeros(1, np.int64))
    names = tuple(str(number) for number in range(classes))
    return DataSet(nothing, nothing, names, shape, Augmentation(), REFERENCE, task=TrainingTask.SEGMENTATION)


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_overlap_is_scikit_learns_and_does_not_see_what_is_not_learned(seed: int, cut: int) -> None:
    from sklearn import metrics

    random = np.random.RandomState(seed)
    true = random.randint(-1, 3, (5, 4, 4))
    logits = random.randn(5, 3, 4, 4).astype(np.float32)
    task = Segmentation(masks(3), CPU)
    said = added(task, torch.from_numpy(logits), torch.from_numpy(true), cut)
    learned, found = true != NOTHING, logits.argmax(1)
    expected = metrics.jaccard_score(true[learned], found[learned], average="macro", labels=[0, 1, 2])
    assert said["meanIou"] == pytest.approx(expected)
    changed = np.where(learned[:, None], logits, 100 * random.randn(5, 3, 4, 4)).astype(np.float32)
    assert added(task, torch.from_numpy(changed), torch.from_numpy(true), cut) == pytest.approx(said)


def test_a_mask_moves_with_its_picture() -> None:
    pixels = np.arange(2 * 3 * 64, dtype=np.uint8).reshape(2, 3, 8, 8) + 1

    class Pairs:
        def __len__(self) -> int:
            return 2

        def batch(self, indices: Any) -> Any:
            return pixels[list(indices)], pixels[list(indices), 0].astype(np.int64)

    samples = TrainingSamples(Pairs(), Augmentation(flip=True, shift=3), 1)
    moved = 0
    for epoch in range(8):
        samples.epoch = epoch
        pictures, targets = samples.__getitems__([0, 1])
        inside = targets != NOTHING
        assert torch.equal(pictures[:, 0][inside].long(), targets[inside])
        assert (pictures[:, 0][~inside] == 0).all()
        moved += int((~inside).any())
    assert moved


def test_answers_of_a_rescaled_model_are_in_the_datas_units() -> None:
    given_arguments = {"classes": 2, **outputs.spread_arguments(Spread((1e5, -3.0), (10.0, 0.5)))}
    rest, spread = outputs.parted(given_arguments)
    assert rest == {"classes": 2}
    assert spread is not None
    model = outputs.rescale(torch.nn.Identity(), spread)
    assert model(torch.tensor([[1.0, 2.0]])).tolist() == [[100010.0, -2.0]]
    assert outputs.parted({"classes": 2}) == ({"classes": 2}, None)


@pytest.mark.parametrize(
    ("rows", "columns", "task", "words"),
    [
        ([["1,5"], ["2"]], ["y"], "regression", "no numbers: '1,5' of y in sample 1: regression learns numbers with"),
        ([["3 kg"]], ["y"], "regression", "'3 kg' of y in sample 1"),
        ([[None]], ["y"], "regression", "None of y in sample 1"),
        ([["1"], ["inf"]], ["y"], "regression", "y of sample 2 is inf"),
        ([["1e60"]], ["y"], "regression", "y of sample 1 is 1e\\+60"),
        ([["2", "0"]], ["a", "b"], "multi-label", "a of sample 1 is '2': expected 0 or 1"),
        ([[""], [None]], ["tags"], "multi-label", "no row has a label in the column tags"),
    ],
)
def test_targets_that_are_none_are_refused_by_sample(rows: Any, columns: list[str], task: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        targets_of(rows, columns, TrainingTask(task), "x.csv")


@pytest.mark.parametrize("cell", ["b|a", "b; a", "a,b,", ["b", "a", None], ("a", "b")])
def test_labels_of_a_cell_in_any_form(cell: Any) -> None:
    found = targets_of([[cell], [""]], ["tags"], TrainingTask.MULTI_LABEL, "x.csv")
    assert found.names == ("a", "b")
    assert found.values.tolist() == [[1, 1], [0, 0]]


def test_words_for_probabilities_logits_and_numbers() -> None:
    scores = np.array([[0.2, 0.9]], np.float32)
    assert answers.several(scores, ["a", "b"], logits=False)[0]["labels"] == ["b"]
    assert answers.several(scores, ["a", "b"], logits=True)[0]["labels"] == ["b", "a"]
    assert answers.several(np.array([[-900.0, 900.0]]), [], logits=True)[0]["labels"] == ["1"]
    assert answers.numbers(np.array([[1.5]]), ["y"]) == [{"value": 1.5}]
    assert answers.numbers(np.array([[1.5, 2.0]]), ["y", "z"]) == [{"values": {"y": 1.5, "z": 2.0}}]
