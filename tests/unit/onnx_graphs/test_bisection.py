"""Bisection finds the nodes that cannot be taken, and what is left can be taken together."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.quantize.ladder import bisection

SIZES = st.integers(1, 200)


@settings(max_examples=500, deadline=None)
@given(SIZES.flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=6))))
def test_bad_nodes_are_found_and_no_good_one_is_blamed(case: tuple[int, set[int]]) -> None:
    count, bad = case
    nodes, wrong = [f"n{index}" for index in range(count)], {f"n{index}" for index in bad}
    asked = []

    def fails(chosen: Sequence[str]) -> str:
        asked.append(chosen)
        return "cannot" if wrong & set(chosen) else ""

    if wrong:
        assert set(bisection.culprits(nodes, fails)) == wrong
    assert len(asked) <= 2 * len(wrong) * (count.bit_length() + 1)


@settings(max_examples=300, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 19), st.integers(0, 19)).filter(lambda pair: pair[0] != pair[1]), max_size=5))
def test_pairs_that_fail_only_together_are_parted(pairs: set[tuple[int, int]]) -> None:
    nodes = [str(index) for index in range(20)]

    def fails(chosen: Sequence[str]) -> str:
        return "together" if any({str(a), str(b)} <= set(chosen) for a, b in pairs) else ""

    if fails(nodes):
        found = bisection.culprits(nodes, fails)
        assert not fails([node for node in nodes if node not in found])


def test_a_search_ends_where_every_node_is_bad() -> None:
    nodes = [str(index) for index in range(5000)]
    tries = []

    def fails(chosen: Sequence[str]) -> str:
        tries.append(1)
        return "never"

    found = bisection.culprits(nodes, fails)
    assert set(found) == set(nodes)
    assert len(tries) <= bisection.TRIES
