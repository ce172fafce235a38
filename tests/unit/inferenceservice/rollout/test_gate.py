"""The gate: what is much worse fails soon, what is as good passes, and chance decides nothing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.serving.rollout import CanaryGate
from slipway.inferenceservice.policy import gate
from slipway.inferenceservice.policy.gate import Outcome, judge
from slipway.inferenceservice.policy.traffic import Scores, Traffic
from workloads.serve.generation.metrics import FIRST, NEXT
from workloads.serve.telemetry.metrics import REQUEST_SECONDS, Histogram

GATE = CanaryGate(min_requests=200, max_output_drift=0.1)


ROLLOUTS = 30


def traffic(rng: random.Random, requests: int, *, error_rate=0.0, seconds=0.01, classes=(0.5, 0.3, 0.2)) -> Traffic:
    """As servers count it: exponential times around `seconds`."""
    errors = sum(rng.random() < error_rate for _ in range(requests))
    times = Histogram(REQUEST_SECONDS)
    outputs: dict[str, float] = {}
    for _ in range(requests - errors):
        times.observe(rng.expovariate(1 / seconds))
        kind = rng.choices(range(len(classes)), classes)[0]
        outputs[f"scores/{kind}"] = outputs.get(f"scores/{kind}", 0) + 1
    slow = dict(zip((*REQUEST_SECONDS, float("inf")), times.counts, strict=True))
    return Traffic(requests - errors, errors, times.sum, 0.0, slow, outputs)


@pytest.mark.parametrize("error_rate", [0.0, 0.02])
def test_equal_revisions_are_never_rolled_back_in_many_rollouts(error_rate):
    """Asked again and again as the figures grow, as the operator does."""
    rng = random.Random(4)
    passed = 0
    for _ in range(ROLLOUTS):
        stable, canary = Traffic(), Traffic()
        for _ in range(12):
            stable = stable.plus(traffic(rng, 60, error_rate=error_rate))
            canary = canary.plus(traffic(rng, 30, error_rate=error_rate))
            outcome = judge(GATE, stable, canary).outcome
            assert outcome is not Outcome.BAD
        passed += outcome is Outcome.GOOD
    assert passed >= 0.85 * ROLLOUTS


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        ({"error_rate": 0.2}, "error rate"),
        ({"error_rate": 1.0}, "error rate 100"),
        ({"seconds": 0.05}, "p99"),
        ({"classes": (0.0, 0.1, 0.9)}, "outputs drift"),
    ],
    ids=["errors", "only errors", "slow", "drift"],
)
def test_a_worse_revision_fails_within_some_hundred_requests(worse, words):
    rng = random.Random(5)
    verdict = judge(GATE, traffic(rng, 400), traffic(rng, 200, **worse))
    assert verdict.outcome is Outcome.BAD
    assert words in verdict.message


@pytest.mark.parametrize(
    ("worse", "narrow", "wide"),
    [
        ({"error_rate": 0.1}, {"max_error_rate": 0.02}, {"max_error_rate": 0.5}),
        ({"seconds": 0.025}, {"max_p99_increase_percent": 20}, {"max_p99_increase_percent": 900}),
        ({"classes": (0.2, 0.5, 0.3)}, {"max_output_drift": 0.05}, {"max_output_drift": 0.9}),
    ],
    ids=["errors", "slow", "drift"],
)
def test_the_limits_are_those_of_the_spec(worse, narrow, wide):
    rng = random.Random(8)
    stable, canary = traffic(rng, 1000), traffic(rng, 1000, **worse)
    assert judge(CanaryGate(**narrow), stable, canary).outcome is Outcome.BAD
    assert judge(CanaryGate(**wide), stable, canary).outcome is Outcome.GOOD


def test_much_worse_fails_before_the_least_number_of_requests():
    rng = random.Random(6)
    assert judge(GATE, traffic(rng, 60), traffic(rng, 40, error_rate=0.9)).outcome is Outcome.BAD
    assert judge(GATE, traffic(rng, 60), traffic(rng, 10, error_rate=0.9)).outcome is Outcome.WAIT


def test_a_broken_client_that_both_revisions_refuse_is_no_fault_of_the_canary():
    rng = random.Random(7)
    verdict = judge(GATE, traffic(rng, 1000, error_rate=0.3), traffic(rng, 1000, error_rate=0.3))
    assert verdict.outcome is not Outcome.BAD


def test_nothing_is_decided_without_requests():
    assert judge(GATE, Traffic(), Traffic()).outcome is Outcome.WAIT
    content = CanaryGate(min_requests=0)
    assert judge(content, Traffic(), Traffic()).outcome is Outcome.WAIT, "promoted unseen"
    assert judge(content, Traffic(), Traffic(answered=1)).outcome is Outcome.GOOD, "asked for no more"


def test_what_clients_get_wrong_is_no_evidence_for_or_against_a_revision():
    """Nor what a full queue, a client's own deadline or a pod that leaves ended."""
    loud = Traffic(others=10_000)
    waiting = judge(GATE, Traffic(answered=500), loud)
    assert waiting.outcome is Outcome.WAIT
    assert "10000 say nothing of it" in waiting.message
    assert (
        judge(GATE, Traffic(answered=500), loud.plus(Traffic(answered=500, outputs={"y/0": 9}))).outcome
        is not Outcome.BAD
    )


def test_a_revision_that_failed_all_its_few_inferences_is_not_promoted_by_a_stable_one_that_fails_as_well():
    assert judge(CanaryGate(min_requests=5), Traffic(errors=50), Traffic(errors=10)).outcome is Outcome.WAIT


counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10_000), max_size=6)


@settings(max_examples=50)
@given(counts, counts)
def test_drift_is_a_distance(one, other):
    mine, theirs = Traffic(outputs=one), Traffic(outputs=other)
    distance = gate.drift(mine, theirs)
    if not sum(one.values()) or not sum(other.values()):
        assert distance is None
        return
    assert distance is not None
    assert 0 <= distance <= 1 + 1e-9
    assert distance == pytest.approx(gate.drift(theirs, mine) or 0)
    assert gate.drift(mine, mine) == 0


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_the_lower_bound_is_below_the_share_and_grows_with_evidence(hits, more):
    trials = hits + more
    bound = gate.at_least(hits, trials)
    assert 0 <= bound <= (hits / trials if trials else 0) + 1e-12
    assert gate.at_least(10 * hits, 10 * trials) >= bound - 1e-12


@settings(max_examples=50)
@given(st.lists(st.floats(1.01e-4, 12), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, q):
    times = Histogram(REQUEST_SECONDS)
    for value in values:
        times.observe(value)
    bounds = (*REQUEST_SECONDS, float("inf"))
    counted = Traffic(slow=dict(zip(bounds, times.counts, strict=True)))
    found = gate.quantile(counted.slow, q)
    rank = max(1, -(-int(q * len(values) * 1e9) // 10**9))
    true = sorted(values)[min(len(values), rank) - 1]
    assert found is not None
    assert true / 1.5 <= found <= true * 1.5
    assert gate.share_above(counted.slow, 0) == pytest.approx(1)
    assert gate.share_above(counted.slow, 1e9) <= 1


def answers(rng: random.Random, count: int, *, first: float = 0.05, each: float = 0.01) -> Traffic:
    """Traffic of a language model: exponential times to the first token and per further one."""
    times = Histogram(FIRST), Histogram(NEXT)
    for _ in range(count):
        times[0].observe(rng.expovariate(1 / first))
        times[1].observe(rng.expovariate(1 / each))
    by_bound = [dict(zip((*one.bounds, float("inf")), one.counts, strict=True)) for one in times]
    return Traffic(answered=count, first=by_bound[0], each=by_bound[1])


TOKENS = CanaryGate(min_requests=50, maxTTFTIncreasePercent=50, maxTPOTIncreasePercent=50)


@pytest.mark.parametrize(("slow", "words"), [({"first": 0.5}, "first token"), ({"each": 0.1}, "per token")])
def test_a_canary_whose_tokens_come_late_is_rolled_back(slow, words):
    rng = random.Random(1)
    verdict = judge(TOKENS, answers(rng, 300), answers(rng, 300, **slow))
    assert verdict.outcome is Outcome.BAD
    assert words in verdict.message
    assert float(verdict.figures["ttftMilliseconds"]) > 0 < float(verdict.figures["stableTpotMilliseconds"])


def test_tokens_as_fast_as_before_pass_and_none_at_all_decide_nothing():
    rng = random.Random(2)
    assert judge(TOKENS, answers(rng, 300), answers(rng, 300)).outcome is Outcome.GOOD
    assert judge(TOKENS, Traffic(answered=300), Traffic(answered=300)).outcome is Outcome.WAIT


def scored(rng: random.Random, count: int, mean: float) -> Traffic:
    """As the serving revision counts it: answers whose loss is spread around a mean."""
    lost = [rng.gauss(mean, 0.1) for _ in range(count)]
    worse, better = sum(max(0.0, one) for one in lost), sum(max(0.0, -one) for one in lost)
    return Traffic(answered=count, scores=Scores(count, worse, better, sum(one * one for one in lost)))


@pytest.mark.parametrize(
    ("count", "mean", "outcome"),
    [(200, 0.5, Outcome.BAD), (200, 0.0, Outcome.GOOD), (200, -0.3, Outcome.GOOD), (10, 5.0, Outcome.WAIT)],
)
def test_a_canary_that_finds_the_answers_less_likely_is_rolled_back(count, mean, outcome):
    stable = scored(random.Random(3), count, mean)
    verdict = judge(CanaryGate(min_requests=50, max_logprob_drift=0.1), stable, Traffic(answered=200))
    assert verdict.outcome is outcome
    assert float(verdict.figures["logprobDrift"]) == pytest.approx(mean, abs=0.15)
    assert stable.plus(stable).since(stable).scores.answers == count
