"""What passes: limits in every form, evidence, size, latency."""

from typing import Any

import pytest

from slipway.api.quantization.gates import (
    AccuracyGate,
    AccuracyProfile,
    DropType,
    Evidence,
    Gates,
    LatencyGate,
    SizeGate,
)
from workloads.measure.confidence import Difference, Pairs
from workloads.quantize.evaluation.gates import Speedup, Verdict, drop_limit, judge

GOOD = Pairs(both=900, first=5, second=5, none=90)


def judged(gates: Gates, pairs: Pairs, size_ratio: float, speedup: Speedup | None) -> Verdict:
    return judge(gates, Difference.of(pairs, gates.accuracy.confidence), size_ratio, speedup)


def accuracy(**fields: Any) -> Gates:
    return Gates(accuracy=AccuracyGate(**fields))


@pytest.mark.parametrize(
    ("gate", "limit"),
    [
        (AccuracyGate(), 0.008),
        (AccuracyGate(profile=AccuracyProfile.MLPERF_99_9), 0.0008),
        (AccuracyGate(max_drop=0.05), 0.04),
        (AccuracyGate(max_drop=0.05, drop_type=DropType.ABSOLUTE), 0.05),
    ],
)
def test_limits(gate: AccuracyGate, limit: float) -> None:
    assert drop_limit(gate, 0.8) == pytest.approx(limit)


def test_exactly_the_limit_passes() -> None:
    """10 of 1000 lost at a limit of one point: binary fractions must not decide."""
    pairs = Pairs(both=800, first=10, second=0, none=190)
    assert judged(accuracy(max_drop=0.01, drop_type=DropType.ABSOLUTE), pairs, 0.3, None).passed
    worse = Pairs(both=799, first=11, second=0, none=190)
    verdict = judged(accuracy(max_drop=0.01, drop_type=DropType.ABSOLUTE), worse, 0.3, None)
    assert verdict.failures == ("accuracy",)
    assert "drop +1.10 pt" in verdict.words()


def test_upper_bound_asks_for_evidence() -> None:
    gate = {"max_drop": 0.01, "drop_type": DropType.ABSOLUTE}
    assert judged(accuracy(**gate), GOOD, 0.3, None).passed
    assert judged(accuracy(**gate, evidence=Evidence.UPPER_BOUND), GOOD, 0.3, None).passed
    few = Pairs(both=90, first=1, second=1, none=8)
    assert judged(accuracy(**gate), few, 0.3, None).passed
    verdict = judged(accuracy(**gate, evidence=Evidence.UPPER_BOUND), few, 0.3, None)
    assert not verdict.passed
    assert "cannot be ruled out" in verdict.words()


def test_size() -> None:
    gates = Gates(size=SizeGate(max_ratio=0.3))
    assert judged(gates, GOOD, 0.3, None).passed
    assert "size: 0.31" in judged(gates, GOOD, 0.31, None).words()


def test_latency_fails_on_clear_evidence_only() -> None:
    gates = Gates(latency=LatencyGate(min_speedup=1.5))
    assert judged(gates, GOOD, 0.3, Speedup(1.4, 1.2, 1.6)).passed
    assert "latency: 1.30" in judged(gates, GOOD, 0.3, Speedup(1.3, 1.2, 1.4)).words()
