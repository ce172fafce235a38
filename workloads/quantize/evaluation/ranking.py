"""Ranking of candidates that pass: by latency, size and noise, in wide classes. Pure."""

from collections.abc import Callable, Sequence

from slipway.api.quantization.ladder import Goal
from slipway.api.quantization.status import Candidate

# What lies within this share of the best is equal to it: clocks of a shared node differ by so much.
FASTER_TIE, SMALLER_TIE, PRODUCT_TIE = 0.15, 0.10, 0.25
NOISE_TIE_DB = 3.0
GAIN = 0.10  # of size or of latency, or it is not worth another model

Figure = Callable[[Candidate], float]


def no_gain(ratio: float, speedup: float | None, goal: Goal) -> str:
    """Reason why a candidate gains nothing, or the empty string. `ratio`: its bytes over the float model's.

    `speedup`: float latency over its own; None where this node cannot say, and then nothing is held against it.
    What is smaller and slower is a gain for who asks for `size`; for others only while it is not slower by more than
    it is smaller, and for `latency` only while it is nearly as fast.
    """
    if speedup is None:
        return ""
    told = f"{1 / ratio:.2f} times smaller and {speedup:.2f} times as fast as the float model"
    if ratio > 1 - GAIN and speedup < 1 + GAIN:
        return f"no gain: {told}, at least {1 + GAIN:g} times as fast or {GAIN:.0%} smaller asked"
    if goal is Goal.LATENCY and speedup < 1 / (1 + FASTER_TIE):
        return f"no gain: {told}, and slower; set optimizeFor: size to publish what is only smaller"
    if goal is not Goal.SIZE and speedup / ratio < 1 + GAIN:
        return f"no gain: {told}, more slower than smaller; set optimizeFor: size to publish what is only smaller"
    return ""


def first(candidates: Sequence[Candidate], goal: Goal) -> Candidate:
    """Best candidate for a goal; among equal ones the first. At least one candidate."""
    kept = list(candidates)
    if goal is Goal.ACCURACY:
        top = max(candidate.accuracy or 0.0 for candidate in kept)
        kept = [candidate for candidate in kept if (candidate.accuracy or 0.0) == top]
        loudest = max(_noise(candidate) for candidate in kept)
        kept = [candidate for candidate in kept if _noise(candidate) >= loudest - NOISE_TIE_DB]
    orders: dict[Goal, list[tuple[Figure, float]]] = {
        Goal.BALANCED: [(lambda one: _speed(one) * _smallness(one), PRODUCT_TIE)],
        Goal.LATENCY: [(_speed, FASTER_TIE), (_smallness, SMALLER_TIE)],
        Goal.SIZE: [(_smallness, SMALLER_TIE), (_speed, FASTER_TIE)],
        Goal.ACCURACY: [(_speed, FASTER_TIE), (_smallness, SMALLER_TIE)],
    }
    for figure, tie in orders[goal]:
        most = max(map(figure, kept))
        kept = [candidate for candidate in kept if figure(candidate) >= most / (1 + tie)]
    return max(kept, key=lambda one: (_noise(one), one.accuracy or 0.0))


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Pareto front: the candidates that no other one beats.

    One that beats another is at least as accurate, as clean, as small and as fast, and better in one of these.

    Figures that one of two has not, such as the latency of what was not measured, are left out between these two.
    """
    return [one for one in candidates if not any(_beats(other, one) for other in candidates)]


def marked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, with those marked that are on the Pareto front of what passes."""
    best = {candidate.name for candidate in front([one for one in candidates if one.passed])}
    return [one.model_copy(update={"pareto": True}) if one.name in best else one for one in candidates]


def _beats(first: Candidate, second: Candidate) -> bool:
    pairs = [(a, b) for a, b in zip(_figures(first), _figures(second), strict=True) if a is not None and b is not None]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _figures(candidate: Candidate) -> list[float | None]:
    size = None if candidate.size_bytes is None else -float(candidate.size_bytes)
    return [candidate.accuracy, candidate.sqnr_db, size, candidate.speedup]


def _speed(candidate: Candidate) -> float:
    return 1.0 if candidate.speedup is None else candidate.speedup


def _smallness(candidate: Candidate) -> float:
    return 1.0 / max(1, candidate.size_bytes or 1)


def _noise(candidate: Candidate) -> float:
    return float("inf") if candidate.sqnr_db is None else candidate.sqnr_db
