"""The paired statistics: against known values, against scipy, and by counting how often the interval holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from workloads.measure.confidence import Pairs, drop_interval, mcnemar, median_interval, wilson

COUNTS = st.integers(0, 400)


def test_a_worked_example() -> None:
    """Newcombe 1998's contrasting pairs (20, 12, 2, 16): a difference of 0.2, most of it surely there."""
    low, high = drop_interval(Pairs(20, 12, 2, 16), 0.95)
    assert (low, high) == pytest.approx((0.0562, 0.3292), abs=2e-4)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(Pairs(50, first, second, 3)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_interval_holds_the_estimate_and_swaps_with_the_models(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d == 0:
        return
    pairs, swapped = Pairs(a, b, c, d), Pairs(a, c, b, d)
    low, high = drop_interval(pairs, 0.95)
    assert -1 <= low <= pairs.drop <= high <= 1
    assert drop_interval(swapped, 0.95) == pytest.approx((-high, -low))
    wide_low, wide_high = drop_interval(pairs, 0.99)
    assert wide_low <= low
    assert high <= wide_high


@pytest.mark.parametrize(("count", "worse", "better"), [(300, 0.02, 0.005), (300, 0.1, 0.02), (2000, 0.01, 0.01)])
def test_the_interval_covers_as_often_as_it_says(count: int, worse: float, better: float) -> None:
    random, hits, rounds = np.random.default_rng(1), 0, 1500
    for both, first, second, none in random.multinomial(count, [0.9 - worse - better, worse, better, 0.1], rounds):
        low, high = drop_interval(Pairs(int(both), int(first), int(second), int(none)), 0.95)
        hits += low <= worse - better <= high
    assert 0.93 <= hits / rounds <= 0.99


def test_pairs_are_counted_sample_by_sample() -> None:
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, False, True])
    pairs = Pairs.of(first, second)
    assert (pairs.both, pairs.first, pairs.second, pairs.none) == (2, 1, 1, 1)
    assert pairs.drop == 0.0


@pytest.mark.parametrize("right", [0, 3, 10])
def test_wilson_is_scipys(right: int) -> None:
    expected = binomtest(right, 10).proportion_ci(0.95, method="wilson")
    assert wilson(right, 10, 0.95) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_median_interval_covers() -> None:
    random = np.random.default_rng(2)
    hits = 0
    for values in random.exponential(size=(400, 60)):
        _, low, high = median_interval(values, 0.95)
        hits += low <= np.log(2) <= high
    assert hits / 400 >= 0.93
