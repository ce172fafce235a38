"""Which of several candidates is published? And which is shown when none passes."""

import math
from typing import Any

import pytest

from slipway.api.quantization.ladder import Goal, Rung
from slipway.api.quantization.status import Candidate
from workloads.quantize.evaluation.ranking import front, no_gain
from workloads.quantize.ladder.candidates import best, most_accurate
from workloads.quantize.ladder.rungs import fewest


def candidate(name: str, accuracy: float | None, **fields: Any) -> Candidate:
    given = {"passed": True, "float_nodes": 0, **fields}
    return Candidate(name=name, rung=Rung.STATIC_PER_CHANNEL, accuracy=accuracy, **given)


@pytest.mark.parametrize(
    ("candidates", "name"),
    [
        ([candidate("accurate", 0.99, passed=False), candidate("passing", 0.9)], "passing"),
        ([candidate("accurate", 0.99, float_nodes=2), candidate("whole", 0.9, float_nodes=1)], "whole"),
        ([candidate("less", 0.9), candidate("accurate", 0.91)], "accurate"),
        ([candidate("noisy", 0.9, sqnr_db=10.0), candidate("clean", 0.9, sqnr_db=20.0)], "clean"),
        ([candidate("first", 0.9, sqnr_db=10.0), candidate("second", 0.9, sqnr_db=10.0)], "first"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_best_that_passes_is_published(candidates: list[Candidate], name: str) -> None:
    found = best(candidates)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 64])
def test_no_more_stays_float_than_must_and_few_candidates_are_built(most: int) -> None:
    for needed in range(1, most + 2):
        tried: list[int] = []

        def passes(count: int, needed: int = needed, tried: list[int] = tried) -> bool:
            tried.append(count)
            return count >= needed

        assert fewest(passes, most) == (needed if needed <= most else None)
        assert tried[0] == 1
        assert len(set(tried)) == len(tried) <= 2 * math.ceil(math.log2(most + 1))
        assert max(tried) <= min(most, max(1, 2 * (needed - 1)))


def test_nothing_passes() -> None:
    failed = [candidate("a", 0.5, passed=False), candidate("b", 0.7, passed=False), candidate("c", None, passed=False)]
    assert best(failed) is None
    nearest = most_accurate(failed)
    assert nearest is not None
    assert nearest.name == "b"
    assert most_accurate([failed[2]]) is None


TENSOR = candidate("per-tensor", 0.9, sqnr_db=19.7, size_bytes=1000, speedup=1.52)
CHANNEL = candidate("per-channel", 0.9, sqnr_db=40.5, size_bytes=1040, speedup=1.45)
WEIGHTS = candidate("weight-only", 0.91, sqnr_db=45.0, size_bytes=700, speedup=0.75)
HALF = candidate("half", 0.92, sqnr_db=60.0, size_bytes=2000, speedup=0.9)
CHEAP = [TENSOR, CHANNEL, WEIGHTS, HALF]


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        (Goal.BALANCED, "per-channel"),
        (Goal.LATENCY, "per-channel"),
        (Goal.SIZE, "weight-only"),
        (Goal.ACCURACY, "half"),
    ],
)
def test_cheap_rungs_compete_by_what_is_asked(goal: Goal, name: str) -> None:
    for order in (CHEAP, CHEAP[::-1]):
        found = best(order, goal)
        assert found is not None
        assert found.name == name


def test_a_clock_s_noise_changes_nothing() -> None:
    for shift in (0.95, 1.0, 1.05):
        noisy = CHANNEL.model_copy(update={"speedup": 1.5 * shift})
        found = best([TENSOR, noisy], Goal.LATENCY)
        assert found is not None
        assert found.name == "per-channel"


@pytest.mark.parametrize("goal", list(Goal))
def test_neither_smaller_nor_faster_is_no_gain(goal: Goal) -> None:
    assert "0.97 times smaller and 0.74 times as fast" in no_gain(1 / 0.97, 0.74, goal)
    assert no_gain(0.95, 1.05, goal)
    assert not no_gain(0.25, 0.9, goal)
    assert not no_gain(0.25, 2, goal)
    assert not no_gain(1.2, None, goal)  # the target's clock is not here


@pytest.mark.parametrize(
    ("goal", "speedup", "gains"),
    [
        (Goal.SIZE, 0.11, True),
        (Goal.BALANCED, 0.11, False),
        (Goal.ACCURACY, 0.11, False),
        (Goal.LATENCY, 0.11, False),
        (Goal.BALANCED, 0.5, True),
        (Goal.LATENCY, 0.5, False),
    ],
)
def test_a_quarter_of_the_size_at_a_tenth_of_the_speed_is_a_gain_for_size_alone(
    goal: Goal, speedup: float, gains: bool
) -> None:
    words = no_gain(0.25, speedup, goal)
    assert ("optimizeFor: size" in words, words == "") == (not gains, gains)


def test_the_front_holds_what_no_other_beats() -> None:
    worse = candidate("worse", 0.9, sqnr_db=19.0, size_bytes=1050, speedup=1.4)
    assert front([*CHEAP, worse]) == CHEAP
    twin = TENSOR.model_copy(update={"name": "twin"})
    assert front([TENSOR, twin]) == [TENSOR, twin]
    assert front([TENSOR, candidate("unmeasured", 0.9, sqnr_db=30.0, size_bytes=900)])[0].name == "unmeasured"
