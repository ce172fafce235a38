"""Reuse factors: the least interval that fits, against every combination, and hls4ml's own rule for what is valid."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.errors import BadInput
from workloads.quantize.hls import parts, reuse
from workloads.quantize.hls.reuse import Work

SIZES = st.integers(1, 12)
LAYERS = st.lists(
    st.builds(Work, st.just("layer"), SIZES, SIZES, st.integers(1, 9), st.integers(1, 2)), min_size=1, max_size=3
)


def every_plan(layers: list[Work]) -> list[tuple[int, int]]:
    """Interval and DSPs of every combination of factors."""
    found = []
    for factors in itertools.product(*(layer.factors for layer in layers)):
        pairs = list(zip(layers, factors, strict=True))
        dsps = sum(layer.multipliers(factor) * layer.slices for layer, factor in pairs)
        found.append((max(layer.interval(factor) for layer, factor in pairs), dsps))
    return found


@settings(max_examples=150, deadline=None)
@given(LAYERS, st.integers(1, 300))
def test_no_combination_that_fits_is_faster_nor_as_fast_with_fewer_dsps(layers: list[Work], budget: int) -> None:
    fitting = [plan for plan in every_plan(layers) if plan[1] <= budget]
    if not fitting:
        with pytest.raises(reuse.DoesNotFitError, match="fewest that it takes"):
            reuse.solved(layers, budget)
        return
    plan = reuse.solved(layers, budget)
    assert (plan.interval, plan.dsps) == min(fitting)


@settings(max_examples=60, deadline=None)
@given(LAYERS, st.integers(1, 300), st.integers(0, 300))
def test_more_dsps_never_make_it_slower(layers: list[Work], budget: int, more: int) -> None:
    try:
        less = reuse.solved(layers, budget)
    except reuse.DoesNotFitError:
        return
    assert reuse.solved(layers, budget + more).interval <= less.interval


def test_the_valid_factors_are_those_of_hls4ml() -> None:
    backends = pytest.importorskip("hls4ml.backends")
    own = backends.fpga.fpga_backend.FPGABackend.get_valid_reuse_factors
    rule = type("Rule", (), {"_validate_reuse_factor": backends.FPGABackend._validate_reuse_factor})()
    for inputs, outputs in [(1, 1), (2, 3), (16, 10), (9, 16), (27, 8), (64, 32), (7, 5), (12, 18)]:
        assert reuse.valid(inputs, outputs) == own(rule, inputs, outputs)


def test_a_factor_that_is_fixed_stays() -> None:
    layers = [Work("a", 16, 10, fixed=160), Work("b", 10, 10)]
    plan = reuse.solved(layers, 1000)
    assert plan.factors[0] == 160
    assert plan.interval == 160
    assert reuse.nearest(16, 10, 17) == [16, 32]


def test_slices_of_a_product_by_the_parts_multiplier() -> None:
    small, large = parts.part_of("xc7z020clg400-1", None), parts.part_of("xcvu9p-flga2104-2L-e", None)
    assert (small.dsps, large.dsps) == (220, 6840)
    assert [small.slices(*bits) for bits in ((16, 16), (25, 18), (27, 18), (26, 26))] == [1, 1, 2, 4]
    assert large.slices(27, 18) == large.slices(18, 27) == 1
    with pytest.raises(BadInput, match=r"not known here: say it by target\.fpga\.dsps"):
        parts.part_of("xc9unknown", None)
    with pytest.raises(BadInput, match="has 220 of them"):
        parts.part_of("xc7z020clg400-1", 221)
    assert parts.part_of("xc9unknown", 50).dsps == 50
