"""Indexes as Kubernetes' indexed Jobs write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.gang.completed_nodes import format_indexes, read_indexes

INDEXES = st.sets(st.integers(0, 1200))


@given(INDEXES, INDEXES)
def test_what_is_written_is_read_again(done: set[int], gang: set[int]) -> None:
    text = format_indexes(done)
    assert read_indexes(text, gang) == done & gang
    assert len(text) <= 8192


@pytest.mark.parametrize(
    ("indexes", "text"), [([], ""), ([3], "3"), ([0, 1], "0-1"), ([5, 0, 2, 3, 4], "0,2-5"), ([0, 2, 4], "0,2,4")]
)
def test_runs_are_written_as_runs(indexes: list[int], text: str) -> None:
    assert format_indexes(indexes) == text


@pytest.mark.parametrize("text", ["-", ",", "1-", "a", "2-1", "0-999999999999999999", "-5", "--"])
def test_nonsense_costs_nothing_and_invents_no_node(text: str) -> None:
    assert read_indexes(text, range(3)) <= {0, 1, 2}


@given(st.text("0123456789,-", max_size=60))
def test_any_text_is_read(text: str) -> None:
    assert read_indexes(text, range(10)) <= set(range(10))
