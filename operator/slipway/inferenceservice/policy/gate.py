"""Gate of a canary: its error rate, p99 and output drift against the serving revision's, allowing for chance. Pure.

A figure fails when it is beyond its limit by more than chance explains, and passes when it is within the limit. In
between, more requests decide: neither a lucky minute promotes nor an unlucky one rolls back.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from slipway.api.common.types import MAX_INT32
from slipway.api.serving.rollout import CanaryGate
from slipway.inferenceservice.policy.traffic import Scores, Traffic

# One-sided, 99.9 %: the gate is asked every few seconds, so that each look must be nearly sure by itself.
CONFIDENCE_Z = 3.1
QUANTILE = 0.99
# Of tokens' times: an answer has many tokens and some wait for others' prompts, and the last percent is theirs.
TOKEN_QUANTILE = 0.95
# So few requests prove nothing bad either.
LEAST_TO_FAIL = 20


class Outcome(StrEnum):
    """Result of a comparison."""

    GOOD = "Good"
    WAIT = "Wait"
    BAD = "Bad"


@dataclass(frozen=True)
class Verdict:
    """The outcome and why; figures for the status as texts."""

    outcome: Outcome
    message: str
    figures: Mapping[str, int | str]


def judge(gate: CanaryGate, stable: Traffic, canary: Traffic) -> Verdict:
    """Compare the two over the same time."""
    scored = [] if gate.max_logprob_drift is None else [_logprobs(gate.max_logprob_drift, stable.scores)]
    findings = [*scored, _errors(gate, stable, canary), _latency(gate, stable, canary), *_tokens(gate, stable, canary)]
    if gate.max_output_drift is not None:
        findings.append(_drift(gate.max_output_drift, stable, canary))
    figures = _figures(stable, canary)
    failed = [message for outcome, message in findings if outcome is Outcome.BAD]
    if failed and canary.requests >= LEAST_TO_FAIL:
        return Verdict(Outcome.BAD, "; ".join(failed), figures)
    fewest = min(canary.requests, stable.requests)
    if fewest < gate.min_requests or not canary.answered:
        return Verdict(Outcome.WAIT, _too_few(gate, canary, fewest), figures)
    open_ = [message for outcome, message in findings if outcome is not Outcome.GOOD]
    if open_:
        return Verdict(Outcome.WAIT, f"more requests must decide: {'; '.join(open_)}", figures)
    return Verdict(Outcome.GOOD, "; ".join(message for _, message in findings), figures)


def _too_few(gate: CanaryGate, canary: Traffic, fewest: float) -> str:
    """Message of a gate that has seen too few requests.

    Whatever is asked for, a revision that has answered nobody has shown nothing.
    """
    message = f"{fewest:.0f} of {gate.min_requests} inferences that each revision has to have had"
    if fewest >= gate.min_requests:
        message = "the new revision has answered no inference yet"
    if canary.others:
        message += f"; {canary.others:.0f} say nothing of it: bad requests, clients gone or too hasty, full queues"
    return message


Finding = tuple[Outcome, str]


def _errors(gate: CanaryGate, stable: Traffic, canary: Traffic) -> Finding:
    mine, theirs = error_rate(canary), error_rate(stable)
    limit = theirs + gate.max_error_rate
    message = f"error rate {mine:.2%} against {theirs:.2%}, allowed {limit:.2%}"
    sure = at_most(stable.errors, stable.requests) + gate.max_error_rate
    return _outcome(mine, limit, at_least(canary.errors, canary.requests), sure), message


def _latency(gate: CanaryGate, stable: Traffic, canary: Traffic) -> Finding:
    theirs = quantile(stable.slow, QUANTILE)
    if theirs is None or not canary.answered:
        # All requests may have failed: that is for the error rate to say.
        return Outcome.GOOD, "no times to compare"
    limit = theirs * (1 + gate.max_p99_increase_percent / 100)
    slower = share_above(canary.slow, limit) * canary.answered
    usual = at_most(share_above(stable.slow, limit) * stable.answered, stable.answered)
    mine = quantile(canary.slow, QUANTILE) or 0.0
    message = f"p99 {mine * 1000:.1f} ms against {theirs * 1000:.1f} ms, allowed {limit * 1000:.1f} ms"
    return _outcome(mine, limit, at_least(slower, canary.answered), max(1 - QUANTILE, usual)), message


def _logprobs(limit: float, scores: Scores) -> Finding:
    """Mean loss of the serving revision's answers in nats per token; answers are the unit."""
    if scores.answers < LEAST_TO_FAIL:
        return Outcome.WAIT, f"{scores.answers:.0f} answers scored, at least {LEAST_TO_FAIL} have to be"
    mean, spread = mean_drift(scores)
    message = f"answers lose {mean:.4f} nats per token (by chance up to {spread:.4f}), allowed {limit:.4f}"
    return _outcome(mean, limit, mean - spread, limit), message


def mean_drift(scores: Scores) -> tuple[float, float]:
    """Mean nats per token that answers lose, and how much of it chance may be, nearly surely."""
    mean = (scores.worse - scores.better) / scores.answers
    variance = max(0.0, scores.squares / scores.answers - mean * mean)
    return mean, CONFIDENCE_Z * math.sqrt(variance / scores.answers)


def _tokens(gate: CanaryGate, stable: Traffic, canary: Traffic) -> list[Finding]:
    """Times to the first token and per further one, where the gate asks for them."""
    found = []
    if gate.max_ttft_increase_percent is not None:
        found.append(_token_time("time to the first token", gate.max_ttft_increase_percent, stable.first, canary.first))
    if gate.max_tpot_increase_percent is not None:
        found.append(_token_time("time per token", gate.max_tpot_increase_percent, stable.each, canary.each))
    return found


def _token_time(name: str, percent: int, theirs: Mapping[float, float], mine: Mapping[float, float]) -> Finding:
    usual, own = quantile(theirs, TOKEN_QUANTILE), quantile(mine, TOKEN_QUANTILE)
    if usual is None or own is None:
        return Outcome.WAIT, f"no {name} to compare yet"
    limit, answers, others = usual * (1 + percent / 100), sum(mine.values()), sum(theirs.values())
    slower = share_above(mine, limit) * answers
    chance = at_most(share_above(theirs, limit) * others, others)
    message = f"{name}, p95, {own * 1000:.1f} ms against {usual * 1000:.1f} ms, allowed {limit * 1000:.1f} ms"
    return _outcome(own, limit, at_least(slower, answers), max(1 - TOKEN_QUANTILE, chance)), message


def _drift(limit: float, stable: Traffic, canary: Traffic) -> Finding:
    mine, chance = drift(stable, canary), drift_by_chance(stable, canary)
    if mine is None:
        return Outcome.WAIT, "no outputs to compare yet"
    message = f"outputs drift by {mine:.3f} (by chance up to {chance:.3f}), allowed {limit:.3f}"
    return _outcome(mine, limit, mine - chance, limit), message


def _outcome(figure: float, limit: float, surely: float, against: float) -> Outcome:
    """Outcome of one figure.

    `surely`: what the canary's share is at least; `against`: what it may be, with the other's luck allowed for.
    """
    if surely > against:
        return Outcome.BAD
    return Outcome.GOOD if figure <= limit else Outcome.WAIT


def error_rate(traffic: Traffic) -> float:
    """Share of requests without a result."""
    return traffic.errors / traffic.requests if traffic.requests else 0.0


def at_least(hits: float, trials: float) -> float:
    """Wilson's lower bound of the true share, nearly sure."""
    if trials <= 0:
        return 0.0
    share, z2 = hits / trials, CONFIDENCE_Z**2
    middle = share + z2 / (2 * trials)
    spread = CONFIDENCE_Z * math.sqrt(max(0.0, share * (1 - share) / trials + z2 / (4 * trials**2)))
    return max(0.0, (middle - spread) / (1 + z2 / trials))


def at_most(hits: float, trials: float) -> float:
    """Wilson's upper bound of the true share, nearly sure."""
    return 1 - at_least(trials - hits, trials)


def quantile(slow: Mapping[float, float], q: float) -> float | None:
    """Quantile of seconds by bucket, linear within the bucket; None without requests."""
    total, below, lower = sum(slow.values()), 0.0, 0.0
    if total <= 0:
        return None
    for bound in sorted(slow):
        count = slow[bound]
        if count and below + count >= q * total:
            return lower if math.isinf(bound) else lower + (bound - lower) * (q * total - below) / count
        below, lower = below + count, bound
    return lower


def share_above(slow: Mapping[float, float], seconds: float) -> float:
    """Share of requests that took longer, linear within the bucket."""
    total, above, lower = sum(slow.values()), 0.0, 0.0
    if total <= 0:
        return 0.0
    for bound in sorted(slow):
        count = slow[bound]
        if lower >= seconds:
            above += count
        elif bound > seconds:
            above += count if math.isinf(bound) else count * (bound - seconds) / (bound - lower)
        lower = bound
    return above / total


def drift(stable: Traffic, canary: Traffic) -> float | None:
    """Total variation distance of the outputs' bins, 0 to 1; None while one of them has none."""
    mine, theirs = sum(canary.outputs.values()), sum(stable.outputs.values())
    if not mine or not theirs:
        return None
    bins = {*canary.outputs, *stable.outputs}
    return sum(abs(canary.outputs.get(b, 0.0) / mine - stable.outputs.get(b, 0.0) / theirs) for b in bins) / 2


def drift_by_chance(stable: Traffic, canary: Traffic) -> float:
    """Upper bound, nearly sure, of the drift between two samples of one and the same distribution.

    The mean is at most sqrt(bins (1/m + 1/n)) / 2, and McDiarmid's inequality bounds what lies beyond it.
    """
    mine, theirs = sum(canary.outputs.values()), sum(stable.outputs.values())
    if not mine or not theirs:
        return 1.0
    bins = len({*canary.outputs, *stable.outputs})
    spread = 1 / mine + 1 / theirs
    return min(1.0, 0.5 * math.sqrt(bins * spread) + math.sqrt(spread * math.log(1000) / 2))


def _figures(stable: Traffic, canary: Traffic) -> dict[str, int | str]:
    figures: dict[str, int | str] = {
        "requests": min(MAX_INT32, int(canary.requests)),
        "stableRequests": min(MAX_INT32, int(stable.requests)),
        "errorRate": f"{error_rate(canary):.4f}",
        "stableErrorRate": f"{error_rate(stable):.4f}",
    }
    for name, traffic in (("p99Milliseconds", canary), ("stableP99Milliseconds", stable)):
        seconds = quantile(traffic.slow, QUANTILE)
        if seconds is not None:
            figures[name] = f"{seconds * 1000:.2f}"
    times = (("ttft", canary.first, stable.first), ("tpot", canary.each, stable.each))
    for name, mine, theirs in times:
        own, usual = quantile(mine, TOKEN_QUANTILE), quantile(theirs, TOKEN_QUANTILE)
        if own is not None and usual is not None:
            figures |= {
                f"{name}Milliseconds": f"{own * 1000:.2f}",
                f"stable{name.title()}Milliseconds": f"{usual * 1000:.2f}",
            }
    if stable.scores.answers:
        figures["logprobDrift"] = f"{mean_drift(stable.scores)[0]:.4f}"
    distance = drift(stable, canary)
    if distance is not None:
        figures["outputDrift"] = f"{distance:.4f}"
    return figures
