"""The audit log's second lines come after a request's effect can be seen: nobody may count before them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.local.audit import AuditLog


def line(number: int, stage: str = "ResponseComplete", verb: str = "patch", **about: Any) -> str:
    event = {"auditID": str(number), "stage": stage, "verb": verb, "objectRef": {"resource": "pods", **about}}
    return json.dumps(event) + "\n"


def came_in(number: int, verb: str = "patch", **about: Any) -> str:
    return line(number, "RequestReceived", verb, **about)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.log", patience=30)


def numbers(events: list[dict[str, Any]]) -> list[str]:
    return [event["auditID"] for event in events]


def test_a_log_that_is_not_there_yet_is_empty(log: AuditLog) -> None:
    assert log.finished() == []


def test_a_request_that_has_come_in_is_awaited(log: AuditLog) -> None:
    log.path.write_text(came_in(1) + came_in(2) + line(2))

    def end() -> None:
        with log.path.open("a") as file:
            file.write(came_in(3) + line(1))

    late = threading.Timer(0.2, end)
    late.start()
    assert numbers(log.finished()) == ["2", "1"], "and not the third, which came later"
    late.join()


def test_half_a_line_is_awaited_as_well(log: AuditLog) -> None:
    whole = line(1)
    log.path.write_text(came_in(1) + whole[:20])

    def end() -> None:
        with log.path.open("a") as file:
            file.write(whole[20:])

    late = threading.Timer(0.2, end)
    late.start()
    assert numbers(log.finished()) == ["1"]
    late.join()


@pytest.mark.parametrize("lasting", [came_in(1, "watch"), came_in(1, "get", subresource="log")])
def test_what_may_last_for_ever_is_not_awaited(log: AuditLog, lasting: str) -> None:
    log.patience = 0
    log.path.write_text(lasting + came_in(2) + line(2))
    assert numbers(log.finished()) == ["2"]
    assert not log._given_up


def test_what_the_server_died_of_is_awaited_once(log: AuditLog) -> None:
    log.patience = 0.1
    log.path.write_text(came_in(1) + came_in(2) + line(2))
    assert numbers(log.finished()) == ["2"]
    log.patience = 3600
    assert numbers(log.finished()) == ["2"]


def test_each_line_is_parsed_once(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by each of hundreds of tests, a whole log of 30 MB was parsed anew each time."""
    parsed: list[bytes] = []
    loads = json.loads

    def counting(text: bytes) -> Any:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(json, "loads", counting)
    for number in range(5):
        with log.path.open("a") as file:
            file.write(came_in(number) + line(number))
        assert len(log.finished()) == number + 1
    assert len(parsed) == 10


def test_a_new_file_after_a_full_one_is_read_from_its_beginning(log: AuditLog) -> None:
    log.path.write_text("".join(came_in(number) + line(number) for number in range(3)))
    assert numbers(log.finished()) == ["0", "1", "2"]
    log.path.write_text(came_in(3) + line(3))
    assert numbers(log.finished()) == ["0", "1", "2", "3"]
