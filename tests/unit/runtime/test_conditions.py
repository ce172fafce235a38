"""Conditions: what moves when, and that nothing is changed in place."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.runtime import conditions as c
from tests.unit.runtime.effort import examples

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

MOVES = st.lists(
    st.tuples(st.sampled_from(["Ready", "Stalled", "Created"]), st.sampled_from(["True", "False", "Unknown", None])),
    max_size=30,
)


@given(MOVES)
@settings(max_examples=examples(100), deadline=None)
def test_a_history_of_conditions(moves: list[tuple[str, str | None]]) -> None:
    """After any history: one entry per type, in the order they came, and the time is that of the last flip."""
    conditions: list[c.Condition] = []
    model: dict[str, tuple[str, str]] = {}
    for step, (kind, status) in enumerate(moves):
        now = T0 + timedelta(seconds=step)
        before = copy.deepcopy(conditions)
        if status is None:
            updated = c.remove(conditions, kind)
            model.pop(kind, None)
        else:
            updated = c.set_condition(conditions, kind, status, "Why", f"step {step}", now, step)
            flipped = kind not in model or model[kind][0] != status
            model[kind] = (status, c.format_time(now) if flipped else model[kind][1])
        assert conditions == before, "an argument was changed in place"
        conditions = updated
    assert [(x["type"], x["status"], x["lastTransitionTime"]) for x in conditions] == [
        (kind, status, time) for kind, (status, time) in model.items()
    ]
    assert all(c.is_true(conditions, kind) == (status == "True") for kind, (status, _) in model.items())


def test_setting_the_same_again_is_no_change() -> None:
    once = c.set_condition([], "Ready", "True", "Running", "2/2 pods", T0, 3)
    assert c.set_condition(once, "Ready", "True", "Running", "2/2 pods", T0 + timedelta(hours=1), 3) == once


def test_a_long_message_is_cut_with_an_ellipsis() -> None:
    [condition] = c.set_condition([], "Stalled", "True", "Forbidden", "x" * 5000, T0)
    assert len(condition["message"]) == c.MESSAGE_LIMIT
    assert condition["message"].endswith("x…")
    assert "observedGeneration" not in condition


def test_a_long_log_keeps_what_it_says_last() -> None:
    kept = c.last_words("Traceback" + "x" * 5000 + "ValueError: too much")
    assert (len(kept), kept[0]) == (c.MESSAGE_LIMIT, "…")
    assert kept.endswith("xValueError: too much")
    assert c.last_words("short") == "short"


def test_absent_conditions() -> None:
    assert c.get([], "Ready") is None
    assert not c.is_true([], "Ready")
    assert c.remove([], "Ready") == []


def test_times() -> None:
    assert c.format_time(T0) == "2026-01-02T03:04:05Z"
    assert c.format_micro_time(T0) == "2026-01-02T03:04:05.678901Z"
    assert c.parse_time("2026-01-02T03:04:05.678901Z") == T0
    assert c.format_time(T0.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-01-02T03:04:05Z"
    assert c.parse_time("2026-01-02T05:04:05+02:00") == T0.replace(microsecond=0)


@pytest.mark.parametrize("act", [c.format_time, c.format_micro_time])
def test_a_naive_time_is_refused(act: object) -> None:
    with pytest.raises(ValueError, match="zone"):
        act(datetime(2026, 1, 1))  # type: ignore[operator]  # noqa: DTZ001


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        c.parse_time(text)
