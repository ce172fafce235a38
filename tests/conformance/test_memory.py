"""A server that has answered many times as many requests holds no more for it."""

from __future__ import annotations

import pytest

from tests.perf.serving.memory_bench import ALLOWED, grown

LONG = [pytest.param(count, marks=pytest.mark.slow) for count in (20_000, 200_000)]


@pytest.mark.parametrize("requests", [8_000, *LONG])
def test_memory_after_many_mixed_requests_is_that_after_the_first(requests: int) -> None:
    result = grown(requests)
    assert len(result["of each kind"]) == 9
    assert result["requests"] == requests
    assert result["ratio"] <= ALLOWED, result
