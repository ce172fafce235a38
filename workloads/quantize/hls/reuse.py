"""Reuse factors of a network's layers: the shortest initiation interval whose multipliers fit a budget. Pure.

A layer with n_in x n_out products for each of its positions has (n_in x n_out) / R multipliers, each used R times for a
position. Layers work in a pipeline, each on another sample, so the slowest one sets the interval at which samples may
follow each other: positions x R clocks. Which factors a layer can have is hls4ml's rule for its resource strategy.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isqrt

# Clocks beside the products: what a multiplication and an activation take in the model of Duarte et al. 2018,
# section 3.2 (latency = L_mult + (R - 1) x II_mult + L_activ), where II_mult is one; our figure for both together.
OVERHEAD = 4


class DoesNotFitError(ValueError):
    """Error when no factors make a network small enough; says how many slices the smallest takes."""


@dataclass(frozen=True)
class Work:
    """Products of one layer. `positions`: pixels, 1 for a dense layer; `slices`: DSPs for one multiplier.

    `fixed`: the factor that somebody has asked for; None leaves it to the solver.
    """

    name: str
    inputs: int
    outputs: int
    positions: int = 1
    slices: int = 1
    fixed: int | None = None

    @property
    def factors(self) -> list[int]:
        """Factors that the layer may have, ascending."""
        return valid(self.inputs, self.outputs) if self.fixed is None else [self.fixed]

    def multipliers(self, factor: int) -> int:
        """Multipliers at a factor."""
        return ceil(self.inputs * self.outputs / factor)

    def interval(self, factor: int) -> int:
        """Clocks between two samples."""
        return self.positions * factor


@dataclass(frozen=True)
class Plan:
    """Factors by layer, in order, and what they come to. `interval` and `latency` in clocks."""

    factors: tuple[int, ...]
    dsps: int
    interval: int
    latency: int


@lru_cache(maxsize=256)
def _valid(inputs: int, outputs: int) -> tuple[int, ...]:
    products = inputs * outputs
    small = [factor for factor in range(1, isqrt(products) + 1) if products % factor == 0]
    divisors = sorted({*small, *(products // factor for factor in small)})
    return tuple(
        factor
        for factor in divisors
        if (factor < inputs and ceil(products / factor) % outputs == 0) or (factor >= inputs and factor % inputs == 0)
    )


def valid(inputs: int, outputs: int) -> list[int]:
    """Factors that hls4ml's resource strategy takes for a product of [inputs] by [inputs, outputs], ascending."""
    return list(_valid(inputs, outputs))


def nearest(inputs: int, outputs: int, factor: int) -> list[int]:
    """The valid factors on both sides of one that is not; one where it lies beyond them."""
    known = valid(inputs, outputs)
    place = bisect_left(known, factor)
    return known[max(0, place - 1) : place + 1]


def solved(layers: Sequence[Work], budget: int) -> Plan:
    """The plan of least interval within `budget` DSPs; of those the one with the fewest. DoesNotFitError when none is.

    More time never takes more multipliers, so the least interval is found by halving among those that layers can have,
    and at it every layer takes the largest factor that keeps to it: none waits, and none is faster than needed.
    """
    if not layers:
        return Plan((), 0, 1, OVERHEAD)
    least = max(layer.interval(layer.factors[0]) for layer in layers)
    times = sorted({layer.interval(factor) for layer in layers for factor in layer.factors})
    times = times[bisect_left(times, least) :]
    if (smallest := planned(layers, times[-1])).dsps > budget:
        raise DoesNotFitError(
            f"{smallest.dsps} DSPs are the fewest that it takes, at the largest reuse factors, and {budget} are there"
        )
    place = bisect_left(times, True, key=lambda time: planned(layers, time).dsps <= budget)
    return planned(layers, times[place])


def planned(layers: Sequence[Work], time: int) -> Plan:
    """The plan with the largest factors at which each layer takes `time` clocks at most; its least where none does."""
    factors = []
    for layer in layers:
        known = layer.factors
        place = bisect_right(known, time // layer.positions)
        factors.append(known[max(0, place - 1)])
    pairs = list(zip(layers, factors, strict=True))
    intervals = [layer.interval(factor) for layer, factor in pairs]
    return Plan(
        tuple(factors),
        sum(layer.multipliers(factor) * layer.slices for layer, factor in pairs),
        max(intervals),
        sum(interval + OVERHEAD for interval in intervals),
    )
