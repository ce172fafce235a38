"""The operator's log: a line for each decision, in UTC, with whose it is, on one line whatever a tenant wrote."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.log import formatter
from slipway.reconcile.decision_log import MAX_MESSAGE, decisions, log, log_decisions
from slipway.reconcile.plan import Notice


def resource(reason: str, message: str, status: str = "Unknown") -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
    metadata = {"namespace": "team", "name": "digits", "uid": "u-1"}
    return {"metadata": metadata, "status": {"conditions": [ready]}}


def lines(*, terminal: bool, old: dict[str, Any], new: dict[str, Any], notices: tuple[Notice, ...] = ()) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(terminal=terminal))
    log.addHandler(handler)
    before, log.level = log.level, logging.INFO
    try:
        log_decisions("TrainingJob", old, new, notices)
    finally:
        log.removeHandler(handler)
        log.level = before
    return stream.getvalue().splitlines()


def test_a_decision_is_one_json_object_with_whose_it_is() -> None:
    (line,) = lines(terminal=False, old=resource("Queued", "no room"), new=resource("PodsCreated", "2 pods"))
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["time"])
    told = {key: found[key] for key in ("kind", "namespace", "resource", "reason", "level", "logger")}
    assert told == {
        "kind": "TrainingJob",
        "namespace": "team",
        "resource": "digits",
        "reason": "PodsCreated",
        "level": "INFO",
        "logger": "slipway.decisions",
    }
    assert found["message"] == "TrainingJob team/digits PodsCreated: 2 pods"


@given(st.text(max_size=3000))
def test_a_line_is_one_line_and_bounded_whatever_a_tenant_wrote(words: str) -> None:
    for terminal in (True, False):
        found = lines(terminal=terminal, old=resource("Queued", ""), new=resource("BadInput", words, "False"))
        assert len(found) == 1
        assert len(found[0]) < 8 * MAX_MESSAGE


def test_what_an_event_tells_is_not_told_twice() -> None:
    old, new = resource("Queued", "no room"), resource("Restarting", "node-1 failed")
    notices = (Notice("Warning", "Restarting", "node-1: OOMKilled"),)
    assert [one.message for one in decisions(old["status"], new["status"], notices)] == ["node-1: OOMKilled"]


@pytest.mark.parametrize("message", ["3 of 4 pods run", "4 of 4 pods run"])
def test_a_message_that_moves_is_no_decision(message: str) -> None:
    old, new = resource("PodsPending", "2 of 4 pods run"), resource("PodsPending", message)
    assert not lines(terminal=True, old=old, new=new)
