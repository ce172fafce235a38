"""A server that has answered ten times as many requests holds no more for it."""

from __future__ import annotations

import pytest

from tests.perf.serving.memory_bench import ALLOWED, grown


@pytest.mark.parametrize("requests", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_memory_after_many_mixed_requests_is_that_after_the_first(requests: int) -> None:
    result = grown(requests)
    assert len(result["of each kind"]) == 9
    assert result["requests"] == requests
    assert result["ratio"] <= ALLOWED, result
