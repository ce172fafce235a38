"""The wire format's bounds, and how posts become marks."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.runtime.servers.progress import Coalescer, Report, parse_report
from slipway.runtime.servers.progress_server import Rate
from tests.unit.runtime.effort import examples

TIME = "2026-08-21T10:00:00.123456+02:00"


def post(**status: Any) -> bytes:
    return json.dumps({"trainerStatus": {"lastUpdatedTime": TIME} | status}).encode()


def test_what_the_hugging_face_callback_posts() -> None:
    report = parse_report(
        post(
            progressPercentage=42,
            estimatedRemainingSeconds=120,
            metrics=[{"name": "loss", "value": "0.5"}, {"name": "loss", "value": "0.4"}],
            somethingNew={"ignored": True},
        )
    )
    assert report == Report(42, 120, {"loss": "0.4"}, "2026-08-21T08:00:00Z")
    assert report.wire()["trainerStatus"]["metrics"] == [{"name": "loss", "value": "0.4"}]


def test_a_post_may_say_little_or_nothing() -> None:
    assert parse_report(b"{}") is None
    assert parse_report(b'{"trainerStatus": null}') is None
    report = parse_report(post(progressPercentage=None, metrics=None))
    assert report == Report(None, None, {}, "2026-08-21T08:00:00Z")
    assert report.wire() == {"trainerStatus": {"lastUpdatedTime": "2026-08-21T08:00:00Z"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b'{"trainerStatus": []}', "must be an object"),
        (b'{"trainerStatus": {}}', "lastUpdatedTime"),
        (post(lastUpdatedTime="yesterday"), "lastUpdatedTime"),
        (post(lastUpdatedTime="2026-08-21T10:00:00"), "lastUpdatedTime"),
        (post(lastUpdatedTime=17), "lastUpdatedTime"),
        (post(progressPercentage=101), "0 to 100"),
        (post(progressPercentage=-1), "0 to 100"),
        (post(progressPercentage=42.5), "whole number"),
        (post(progressPercentage=True), "whole number"),
        (post(progressPercentage="42"), "whole number"),
        (post(estimatedRemainingSeconds=2**31), "estimatedRemainingSeconds"),
        (post(metrics={"loss": "1"}), "list"),
        (post(metrics=["loss"]), r"metrics\[0\]"),
        (post(metrics=[{"name": "a", "value": "1"}, {"name": "b", "value": 1}]), r"metrics\[1\].value"),
        (post(metrics=[{"name": "", "value": "1"}]), r"metrics\[0\].name"),
        (post(metrics=[{"name": "x" * 65, "value": "1"}]), "64 characters"),
        (post(metrics=[{"name": f"m{n}", "value": "1"} for n in range(257)]), "at most 256"),
    ],
)
def test_what_is_refused_is_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_report(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["progressPercentage", "estimatedRemainingSeconds", "metrics", "lastUpdatedTime", "other"]


@given(st.binary() | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda d: json.dumps({"trainerStatus": d})))
@settings(max_examples=examples(100), deadline=None)
def test_any_body_is_a_valid_report_or_a_value_error(body: bytes | str) -> None:
    try:
        report = parse_report(body.encode() if isinstance(body, str) else body)
    except ValueError:
        return
    if report is not None:
        assert parse_report(json.dumps(report.wire()).encode()) == report


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60))
@settings(max_examples=examples(100), deadline=None)
def test_marks_are_rare_and_the_last_value_is_always_seen(posts: list[tuple[str, float]]) -> None:
    now = 0.0
    marks: list[tuple[float, str]] = []
    coalescer: Coalescer[str, int] = Coalescer(
        lambda key, seconds: marks.append((now + seconds, key)), interval=5.0, clock=lambda: now
    )
    put_at: dict[str, float] = {}
    for number, (key, pause) in enumerate(posts):
        now += pause
        coalescer.put(key, number)
        assert coalescer.get(key) == number
        put_at[key] = now
    for key, at in put_at.items():
        times = [time for time, marked in marks if marked == key]
        assert all(later - earlier >= 4.999 for earlier, later in itertools.pairwise(times))
        assert at - 1e-6 <= times[-1] <= at + 5.001, "the newest value waits at most one interval for its mark"


def test_a_forgotten_key_starts_anew() -> None:
    marks: list[tuple[str, float]] = []
    coalescer: Coalescer[str, int] = Coalescer(lambda *mark: marks.append(mark), clock=lambda: 100.0)
    coalescer.put("a", 1)
    coalescer.forget("a")
    assert coalescer.get("a") is None
    coalescer.put("a", 2)
    assert marks == [("a", 0.0), ("a", 0.0)]


def test_rate() -> None:
    now = [0.0]
    rate = Rate(2.0, 3, keys=2, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.take("b") == 0
    now[0] = 0.5
    assert rate.take("a") == 0
    assert rate.take("a") > 0
    rate.take("b")
    rate.take("c")
    assert len(rate._buckets) == 2
