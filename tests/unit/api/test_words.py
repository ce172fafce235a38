"""Shell scripts and serialized functions as arguments: long ones are taken, too many of them are refused together."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.common.containers.env import LONGEST_WORD, MOST_WORDS
from slipway.api.quantization.quantizationjob import spec_problems as quantization_problems
from slipway.api.serving.inferenceservice import spec_problems as service_problems
from slipway.api.training.trainingjob import spec_problems
from tests.unit.hostile.cost import assert_within

LONG = "x" * LONGEST_WORD
FULL = [LONG] * (MOST_WORDS // LONGEST_WORD)
ENV = [{"name": f"E{i}", "value": LONG} for i in range(MOST_WORDS // LONGEST_WORD + 1)]
REST = "x" * (MOST_WORDS - len(FULL) * LONGEST_WORD - len("sh"))


def problems(**trainer: Any) -> list[str]:
    return spec_problems("j", {"trainer": {"image": "x", "command": ["sh"], **trainer}})[1]


def test_a_script_of_100_000_characters_is_an_argument() -> None:
    """One of more than 4,096 was refused: a user had to build an image for a shell script."""
    assert problems(command=["sh", "-c", "echo hello\n" * 9_000]) == []
    assert problems(env=[{"name": "CONFIG", "value": "y" * 100_000}]) == []


@pytest.mark.parametrize(
    "trainer",
    [
        {"args": [*FULL, REST + "x"]},
        {"args": [*FULL, REST], "env": [{"name": "E", "value": "x"}]},
        {"command": ["sh", *FULL], "args": [REST, "x"]},
        {"env": ENV},
    ],
    ids=["args", "args and env", "command and args", "env"],
)
def test_all_words_of_a_container_are_bounded_together(trainer: dict[str, Any]) -> None:
    assert problems(args=[*FULL, REST]) == []
    (problem,) = problems(**trainer)
    assert f"more than {MOST_WORDS} characters together" in problem


def test_the_same_bound_holds_for_the_other_kinds() -> None:
    data = {"dataset": {"name": "digits"}}
    job = {"model": {"uri": "pvc://m/a"}, "calibration": data, "evaluation": data, "output": {"uri": "pvc://m/b"}}
    assert "characters together" in " ".join(quantization_problems("q", {**job, "worker": {"env": ENV}})[1])
    predictor: dict[str, Any] = {"model": {"uri": "pvc://m/a"}, "env": ENV}
    assert "characters together" in " ".join(service_problems("s", {"predictor": predictor})[1])
    first = {"name": "fetch", "args": [*FULL, LONG]}
    predictor = {"model": {"uri": "pvc://m/a"}, "pod": {"initContainers": [first]}}
    assert "characters together" in " ".join(service_problems("s", {"predictor": predictor})[1])


def test_the_longest_of_them_are_read_in_a_moment() -> None:
    assert_within(0.2, lambda: problems(args=[*FULL, REST]))
