"""A status draft: what is True together, which times move, and what is left as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.run_state import RUN_FIELDS, read_run
from slipway.reconcile.status import StatusDraft
from slipway.runtime import conditions

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
MOVES = st.lists(st.sampled_from(["progressing", "stalled", "ready"]), min_size=1, max_size=4)


def moved(status: dict[str, Any], moves: list[str], now: datetime) -> dict[str, Any]:
    draft = StatusDraft(status, 1, now)
    for move in moves:
        getattr(draft, move)(move.capitalize(), "")
    return draft.done()


def summary(status: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status["conditions"]}


def test_what_kstatus_and_argo_judge_by() -> None:
    assert summary(moved({}, ["progressing"], NOW)) == {"Ready": "Unknown", "Reconciling": "True"}
    assert summary(moved({}, ["stalled"], NOW)) == {"Ready": "False", "Stalled": "True"}
    assert summary(moved({}, ["ready"], NOW)) == {"Ready": "True"}


@given(MOVES, MOVES)
def test_times_move_only_with_what_really_flipped(first: list[str], second: list[str]) -> None:
    """A draft may pass through other states on its way: only where it starts and ends counts."""
    before = moved({}, first, NOW)
    after = moved(before, second, LATER)
    for condition in after["conditions"]:
        past = conditions.get(before["conditions"], condition["type"])
        flipped = past is None or past["status"] != condition["status"]
        assert condition["lastTransitionTime"] == ("2026-11-01T13:00:00Z" if flipped else "2026-11-01T12:00:00Z")
    if first[-1] == second[-1]:
        assert after == before


def test_the_draft_leaves_the_status_it_started_from_alone() -> None:
    before = moved({}, ["progressing"], NOW)
    kept = str(before)
    StatusDraft(before, 2, LATER).succeed("done").done()
    assert str(before) == kept


def test_the_schemas_default_is_no_history() -> None:
    unseen = {
        "observedGeneration": -1,
        "conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "Pending", "lastTransitionTime": "1970-01-01T00:00:00Z"}
        ],
    }
    (ready, _) = moved(unseen, ["progressing"], NOW)["conditions"]
    assert ready["lastTransitionTime"] == "2026-11-01T12:00:00Z"


def test_an_end_has_a_beginning() -> None:
    for end in (StatusDraft({}, 1, NOW).succeed("done"), StatusDraft({}, 1, NOW).fail("Error", "no")):
        status = end.done()
        assert status["startTime"] == status["completionTime"] == "2026-11-01T12:00:00Z"
        assert "Reconciling" not in summary(status)


def test_no_empty_text_is_sent_at_any_depth() -> None:
    """Debian's build of Kubernetes 1.20 takes them for null, and refuses the whole status."""
    old = {"progress": {"metrics": [{"name": "loss", "value": ""}]}, "selector": ""}
    status = StatusDraft(old, 1, NOW).progressing("Pending", "").done()
    assert status["progress"] == {"metrics": [{"name": "loss"}]}
    assert "selector" not in status
    assert all("message" not in condition for condition in status["conditions"])


def test_what_a_run_is_read_from_is_all_listed() -> None:
    """The draft parses its run anew only when one of these fields has changed."""
    asked: set[str] = set()

    class Asked(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return super().get(key, default)

    read_run(Asked())
    assert asked == set(RUN_FIELDS)


def test_the_run_follows_the_draft() -> None:
    began = "2026-11-01T11:59:00Z"
    running = {"type": "Running", "status": "True", "lastTransitionTime": began}
    draft = StatusDraft({"attempt": 1, "runningTime": began, "conditions": [running]}, 1, NOW)
    before = draft.run
    draft.next_attempt()
    assert (before.attempt, before.running_time is None) == (1, False)
    assert (draft.run.attempt, draft.run.running_time, draft.run.active_seconds) == (2, None, 60)
    draft.fields["attemptTime"] = "2026-11-01T12:00:00Z"
    assert draft.run.attempt_time == NOW
    draft.condition("Suspended", "True", "Suspended", "")
    assert draft.run.suspended


def test_a_traceback_that_is_too_long_keeps_its_last_line() -> None:
    """It once kept the frames, and the error itself was cut off."""
    log = "Traceback (most recent call last):\n" + "  File ...\n" * 500 + "TypeError: no such argument"
    failed = Failure("digits-node-0-a0", "node-0", "trainer", 1, "", "Error", log, NOW)
    draft = StatusDraft({}, 1, NOW).record_failure(failed)
    assert draft.done()["lastFailure"]["message"].endswith("TypeError: no such argument")
