"""The gates of language models: what got worse is refused, by document, also where the mean of few looks fine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.quantization.gates import Gates
from workloads.errors import BadInput
from workloads.quantize.language.gates import verdict
from workloads.quantize.language.judging import Judged, ratio


def judged(worse: float, spread: float = 0.0, count: int = 40, same: float = 0.97, divergence: float = 0.01) -> Judged:
    """Documents of 100 tokens whose losses are `worse` nats a token higher, by so much more or less each."""
    noise = np.random.RandomState(0).randn(count) * spread
    noise -= noise.mean()
    return Judged(
        [100] * count,
        [300.0] * count,
        [300.0 + 100 * (worse + one) for one in noise],
        [round(100 * same)] * count,
        [100 * divergence] * count,
    )


def passes(found: Judged, **gates: object) -> bool:
    return verdict(found, 0.2, Gates.model_validate(gates)).passed


def test_two_percent_is_the_limit_unless_another_is_set_and_the_upper_end_must_hold() -> None:
    assert passes(judged(0.01))
    assert not passes(judged(0.021))
    assert not passes(judged(0.01, spread=0.1))
    assert passes(judged(0.01, spread=0.1), perplexity={"evidence": "estimate"})
    assert passes(judged(0.1), perplexity={"maxIncrease": 0.2})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_never_passes(value: float) -> None:
    found = judged(0.0)
    found.loss[3] = value
    assert not passes(found, perplexity={"maxIncrease": 10, "evidence": "estimate"})


def test_every_gate_that_is_asked_for_must_hold() -> None:
    assert passes(judged(0.0), agreement={"minTop1": 0.95}, divergence={"maxMeanKL": 0.02}, size={"maxRatio": 0.3})
    assert not passes(judged(0.0), agreement={"minTop1": 0.98})
    assert not passes(judged(0.0), divergence={"maxMeanKL": 0.005})
    assert not passes(judged(0.0), size={"maxRatio": 0.1})


def test_one_document_proves_nothing() -> None:
    with pytest.raises(BadInput, match="two"):
        judged(0.0, count=1).increase(0.95)


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(-5, 5)), min_size=2, max_size=30))
def test_the_interval_holds_the_estimate_and_grows_with_confidence(rows: list[tuple[int, float]]) -> None:
    tokens, values = [one for one, _ in rows], [value for _, value in rows]
    narrow, wide = ratio(values, tokens, 0.8), ratio(values, tokens, 0.99)
    assert wide[1] <= narrow[1] <= narrow[0] == wide[0] <= narrow[2] <= wide[2]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random, held = np.random.RandomState(1), 0
    for _ in range(400):
        tokens = random.randint(20, 200, size=25)
        values = tokens * (0.01 + random.randn(25) * 0.05)
        low, high = ratio(values.tolist(), tokens.tolist(), 0.9)[1:]
        held += low <= 0.01 <= high
    assert 0.85 < held / 400 < 0.95
