"""Fixed-point formats: the finest that holds a range, by trying all of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workloads.quantize.hls.formats import Format, fitting, parsed

REAL = st.floats(-1e4, 1e4, allow_subnormal=False, width=32)


@example(0.0, -1025.0, 4)
@given(REAL, REAL, st.sampled_from((4, 8, 12, 16)))
def test_both_ends_are_within_a_step_and_no_finer_format_has_them(first: float, second: float, bits: int) -> None:
    low, high = min(first, second, 0.0), max(first, second, 0.0)
    found = fitting(low, high, bits)
    assert abs(found.quantized(low) - low) <= found.step / 2
    assert abs(found.quantized(high) - high) <= found.step
    finer = Format(bits, found.whole - 1)
    assert max(-low, high) < 1e-30 or any(abs(finer.quantized(end) - end) > finer.step / 2 for end in (low, high))


def test_what_is_written_is_read_back() -> None:
    for made in (Format(16, 6), Format(8, -2)):
        assert parsed(str(made)) == made
    with pytest.raises(ValueError, match="no format holds"):
        fitting(0.0, float("inf"), 8)
    with pytest.raises(ValueError, match="not ap_fixed"):
        parsed("float")
