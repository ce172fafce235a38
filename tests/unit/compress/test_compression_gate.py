"""The gate of a TrainingJob's compression: what is compared with what, and what is not."""

from typing import Any

import pytest

from slipway.api.training.recipe import Recipe
from workloads.errors import BadInput
from workloads.train.results.compression_gate import drop, require_kept

CNN = {"name": "cnn", "uri": "file:///whole"}
TEACHER = {"distillation": {"teacher": {"uri": "file:///whole"}}}


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"model": CNN, "dataset": {"name": "digits"}, **fields})


CHANNELS = {"compression": [{"method": "channels", "ratio": 0.5}]}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"accuracy": 0.8, "loss": 1.0}, {"accuracy": 0.6, "loss": 0.1}, ("accuracy", 0.25)),
        ({"accuracy": 0.8}, {"accuracy": 0.9}, ("accuracy", -0.125)),
        ({"accuracy": 0.0}, {"accuracy": 0.0}, ("accuracy", 0.0)),
        ({"r2": -1.0}, {"r2": -2.0}, ("r2", 1.0)),
        ({"meanIou": 0.5}, {"meanIou": 0.4}, ("meanIou", 0.2)),
        ({"perplexity": 10.0}, {"perplexity": 15.0}, ("perplexity", 0.5)),
        ({}, {"accuracy": 0.1}, None),
        ({"loss": 1.0}, {"loss": 2.0}, None),
    ],
)
def test_the_share_that_is_lost(before: Any, after: Any, expected: Any) -> None:
    found = drop(before, after)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found[0] == expected[0]
        assert found[1] == pytest.approx(expected[1])


def test_a_drop_is_judged_by_the_recipe() -> None:
    worse: Any = ({"accuracy": 0.9}, {"accuracy": 0.88})
    with pytest.raises(BadInput, match=r"accuracy 0.8800, 0.9000 before compression: worse by 2.22 %"):
        require_kept(recipe(**CHANNELS), *worse)
    require_kept(recipe(**CHANNELS, compressionGate={"maxDrop": 0.03}), *worse)
    require_kept(recipe(**CHANNELS, compressionGate={"maxDrop": 1}), {"accuracy": 0.9}, {"accuracy": 0.0})
    with pytest.raises(BadInput, match=r"0.9000 the teacher has: .* allows 2 %"):
        require_kept(recipe(**TEACHER, compressionGate={"maxDrop": 0.02}), *worse)
    require_kept(recipe(**CHANNELS), {}, {"accuracy": 0.0})  # weights that nobody has trained have nothing to lose


def test_a_gate_without_anything_to_compare_with_is_refused() -> None:
    for fields in ({}, {**CHANNELS, "model": {"name": "cnn"}}):
        with pytest.raises(ValueError, match=r"compressionGate compares with the weights of model\.uri"):
            recipe(**fields, compressionGate={})
