"""Whose success is the job's, when silence is a failure, and which nodes an elastic job has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.training.elastic import SuccessPolicy
from slipway.gang.policy import hang
from slipway.gang.policy.elastic import Nodes
from slipway.gang.policy.success import succeeded
from slipway.reconcile.pods.observed import observe_pod
from slipway.reconcile.run_state import read_run
from slipway.runtime.conditions import format_time

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PHASES = {"S": "Succeeded", "F": "Failed", "R": "Running", "P": "Pending"}


def pods(letters: str):
    return [
        observe_pod(
            {
                "metadata": {"name": f"n{i}", "uid": f"u{i}", "labels": {"slipway.dev/replica-index": str(i)}},
                "status": {"phase": PHASES[letter]},
            },
            NOW,
        )
        for i, letter in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("policy", "letters", "expected"),
    [
        ("All", "SS", True),
        ("All", "SR", False),
        ("All", "S", False),
        ("Rank0", "SR", True),
        ("Rank0", "RS", False),
        ("Rank0", "SF", True),
        ("Any", "RS", True),
        ("Any", "RF", False),
    ],
)
def test_success_policies(policy: str, letters: str, expected: bool) -> None:
    assert succeeded(SuccessPolicy(policy), pods(letters), 2) == expected


@pytest.mark.parametrize(("letters", "expected"), [("SS", True), ("SP", True), ("PP", False), ("SR", False)])
def test_an_elastic_node_that_never_found_a_place_does_not_hold_up_success(letters: str, expected: bool) -> None:
    assert succeeded(SuccessPolicy.ALL, pods(letters), 2, elastic=True) == expected


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("running", "reported", "listening", "left"),
    [
        (None, None, None, None),
        (100, None, None, -40),
        (100, 10, None, 50),
        (100, 500, None, -40),
        (1000, 900, 5, 55),
    ],
    ids=["not running", "never reported", "reports", "only of an earlier attempt", "operator was away"],
)
def test_silence_counts_from_the_last_thing_that_could_be_heard(running, reported, listening, left) -> None:
    began = format_time(ago(running or 0))
    mark = {"type": "Running", "status": "True", "lastTransitionTime": began}
    run = read_run({"runningTime": began, "conditions": [mark]} if running else {})
    moments = [ago(seconds) if seconds else None for seconds in (reported, listening)]
    assert hang.seconds_left(60, run, moments[0], moments[1], NOW) == left
    assert hang.seconds_left(None, run, moments[0], moments[1], NOW) is None


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("lost"), st.integers(0, 9)),
        st.tuples(st.just("size"), st.integers(1, 9)),
        st.tuples(st.just("made"), st.just(0)),
    ),
    max_size=20,
)


@given(st.integers(1, 6), CHANGES)
def test_numbers_of_nodes_are_never_used_twice_and_node_0_stays(size: int, changes: list[tuple[str, int]]) -> None:
    nodes, used = Nodes.first(size), set(range(size))
    for what, number in changes:
        before = nodes
        if what == "size":
            size = number
            nodes = nodes.resized(number, nodes.indices[::2])
        elif what == "lost" and len(nodes.indices) > 1:
            nodes = nodes.replaced(nodes.indices[1 + number % (len(nodes.indices) - 1)])
        else:
            nodes = Nodes(nodes.indices, (), nodes.next)
        new = set(nodes.indices) - set(before.indices)
        assert not new & used, "a number was used twice"
        used |= new
        assert len(nodes.indices) == len(set(nodes.indices)) == size
        assert nodes.indices[0] == 0
        assert new <= set(nodes.creating) <= set(nodes.indices)
        assert Nodes.read(nodes.wire()) == nodes


def test_shrinking_takes_those_first_that_have_not_started() -> None:
    assert Nodes.first(4).resized(2, started=[0, 2, 3]).indices == (0, 2)
    assert Nodes.first(4).resized(3, started=[0, 1, 2, 3]).indices == (0, 1, 2)
