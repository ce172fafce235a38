"""Which of several candidates is published? And which is shown when none passes."""

import math
from typing import Any

import pytest

from slipway.api.quantizationladder import Rung
from slipway.api.quantizationstatus import Candidate
from workloads.quantize.candidates import best, most_accurate
from workloads.quantize.rungs import fewest


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
