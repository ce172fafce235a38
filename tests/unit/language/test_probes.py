"""Probes tell an engine that serves the judged model from one that does not, and an adapter that was not applied."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.errors import Corrupt
from workloads.language import probes
from workloads.language.probes import Answer, Probe, Probes, compared, distinct

ONE = Answer([5, 6, 7], [-1.0, -2.0, -0.5], [0.3, 0.01, 2.0])
BASE = Answer([5, 9, 9], [-1.4, -0.1, -0.2], [0.3, 4.0, 2.0])
LISTED = [Probe([1, 2], ONE, BASE), Probe([3], replace(ONE, tokens=[4, 4, 4]), BASE)]
RIGHT = [probe.answer for probe in LISTED]


def test_the_judged_answers_pass_and_the_bases_are_told_from_noise() -> None:
    assert compared(LISTED, RIGHT).reason == ""
    assert compared(LISTED, [BASE, BASE]).reason == probes.NOT_APPLIED
    assert compared(LISTED, [BASE, ONE]).reason == probes.MISMATCH
    assert compared(LISTED, [RIGHT[1], RIGHT[0]]).reason == probes.MISMATCH


@given(st.floats(-3, 3), st.integers(0, 1), st.integers(0, 2))
def test_a_token_that_is_off_by_more_than_the_tolerance_is_seen_wherever_it_is(
    off: float, probe: int, place: int
) -> None:
    served = [replace(one, log_probabilities=list(one.log_probabilities)) for one in RIGHT]
    served[probe].log_probabilities[place] += off
    found = compared(LISTED, served, 0.05)
    assert (found.reason == "") == (
        abs(served[probe].log_probabilities[place] - RIGHT[probe].log_probabilities[place]) <= 0.05
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_passes(value: float) -> None:
    served = [replace(RIGHT[0], log_probabilities=[-1.0, value, -0.5]), RIGHT[1]]
    assert compared(LISTED, served).reason == probes.MISMATCH


def test_a_tie_may_fall_either_way_and_nothing_else_may() -> None:
    tie = replace(ONE, tokens=[5, 8, 1], log_probabilities=[-1.0, -2.005, -3.0])
    assert compared(LISTED, [tie, RIGHT[1]]).reason == ""
    assert compared(LISTED, [replace(ONE, tokens=[8, 6, 7]), RIGHT[1]]).reason == probes.MISMATCH


def test_too_few_answers_prove_nothing() -> None:
    assert compared(LISTED, RIGHT[:1]).reason == probes.MISMATCH
    assert compared([], []).reason == probes.MISMATCH
    assert compared(LISTED, [Answer([], []), Answer([], [])]).reason == probes.MISMATCH


def test_an_adapter_that_changes_nothing_is_not_distinct() -> None:
    assert distinct(LISTED)
    assert not distinct([Probe([1], ONE, ONE)])
    assert not distinct([Probe([1], ONE)])


def test_probes_are_read_as_they_were_written_and_refused_when_they_prove_nothing(tmp_path: Path) -> None:
    Probes({"engine": "torch"}, LISTED).write(tmp_path)
    assert probes.read(tmp_path) == Probes({"engine": "torch"}, LISTED)
    for listed in ([], [Probe([], ONE)], [Probe([1], Answer([], []))], [Probe([1], Answer([1], [-1.0, -2.0]))]):
        Probes({"engine": "torch"}, listed).write(tmp_path)
        with pytest.raises(Corrupt):
            probes.read(tmp_path)
