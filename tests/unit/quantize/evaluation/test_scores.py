"""The interval of a task's drop: few samples that show no difference are no proof that there is none."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.api.quantization.gates import AccuracyGate, DropType, Evidence, Gates
from workloads.measure.confidence import Difference, Pairs
from workloads.quantize.evaluation.gates import judge
from workloads.quantize.evaluation.scores import Scores

LIMIT = {"max_drop": 0.05, "drop_type": DropType.ABSOLUTE}


def of(reference: list[float], own: list[float]) -> Difference:
    return Scores(np.array(reference), np.array(own), 40.0, 0, 0).difference(0.95)


@pytest.mark.parametrize(("count", "passes"), [(24, False), (1000, True)])
def test_samples_that_all_agree_are_evidence_by_their_number(count: int, passes: bool) -> None:
    """Drawn again, samples without a difference never show one: the interval was 0 to 0 for any number of them."""
    found = of([1.0] * count, [1.0] * count)
    assert found.high == pytest.approx(1.96**2 / (count + 1.96**2), rel=1e-3)  # Wilson's, of none
    evidence = judge(Gates(accuracy=AccuracyGate(**LIMIT, evidence=Evidence.UPPER_BOUND)), found, 0.3, None)
    assert evidence.passed == passes
    assert judge(Gates(accuracy=AccuracyGate(**LIMIT)), found, 0.3, None).passed


def test_answers_that_are_right_or_wrong_have_the_interval_of_shares() -> None:
    reference, own = [1.0] * 23 + [0.0], [1.0] * 21 + [0.0] * 3
    pairs = Pairs.of(np.array(reference) > 0, np.array(own) > 0)
    assert of(reference, own) == Difference.of(pairs, 0.95)


def test_scores_between_right_and_wrong_are_drawn_again() -> None:
    random = np.random.default_rng(0)
    reference = random.uniform(0.8, 1.0, 400)
    found = of(list(reference), list(reference - random.uniform(0.0, 0.02, 400)))
    assert 0.008 < found.low < found.drop < found.high < 0.012


def test_equal_scores_between_right_and_wrong_are_no_proof_either() -> None:
    assert of([0.5] * 24, [0.5] * 24).high > 0.1
