"""The recorder in virtual time: what is folded, how often it writes, what it drops. Its server is a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.runtime.client.errors import ApiError, Forbidden, NotFound, NotLeading, TooManyRequests, Unavailable
from slipway.runtime.events import FORGET_SECONDS, NOTE_LIMIT, SERIES_SECONDS, EventRecorder, Reporter
from tests.unit.runtime.virtual import run_virtually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(uid: str = "u1", name: str = "digits") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": "7"}
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata}


@dataclass
class Server:
    """Records the writes with their time; `errors` are raised one by one first."""

    errors: list[Exception] = field(default_factory=list)
    writes: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    tries: int = 0

    async def create(self, resource: object, obj: dict[str, Any]) -> None:
        self._write(obj["metadata"]["name"], obj)

    async def patch(self, resource: object, namespace: str, name: str, body: dict[str, Any]) -> None:
        self._write(name, body)

    def _write(self, name: str, body: dict[str, Any]) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        self.writes.append((asyncio.get_running_loop().time(), name, body))


def tell(
    story: Callable[[EventRecorder, Server, list[str]], Coroutine[Any, Any, None]],
    errors: list[Exception] | None = None,
    **options: Any,
) -> None:
    async def main() -> None:
        server, lost = Server(errors or []), list[str]()
        clock = asyncio.get_running_loop().time
        recorder = EventRecorder(
            server,  # type: ignore[arg-type]
            Reporter("slipway.dev/operator", "pod-1"),
            clock=clock,
            now=lambda: NOW,
            dropped=lost.append,
            **options,
        )
        running = asyncio.create_task(recorder.run())
        await story(recorder, server, lost)
        running.cancel()

    run_virtually(main())


def test_an_event_is_written_at_once_and_complete() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(), "Warning", "Restarting", "pod a failed", action="Restart")
        await asyncio.sleep(0.01)
        [(at, name, event)] = server.writes
        assert at < 0.01
        assert name.startswith("digits.")
        assert event["regarding"] == {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "TrainingJob",
            "namespace": "ns",
            "name": "digits",
            "uid": "u1",
            "resourceVersion": "7",
        }
        said = {key: event[key] for key in ("type", "reason", "action", "note", "eventTime", "reportingController")}
        assert said == {
            "type": "Warning",
            "reason": "Restarting",
            "action": "Restart",
            "note": "pod a failed",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "slipway.dev/operator",
        }
        assert "series" not in event

    tell(story)


def test_a_thousand_repetitions_are_one_event_and_an_update_a_minute() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        for _ in range(1000):
            recorder.event(job(), "Warning", "Unschedulable", "0/2 nodes")
            await asyncio.sleep(0.3)
        await asyncio.sleep(SERIES_SECONDS)
        assert len({name for _, name, _ in server.writes}) == 1
        assert len(server.writes) == 1 + 300 // SERIES_SECONDS
        assert server.writes[-1][2]["series"]["count"] == 1000
        assert lost == []

    tell(story)


def test_a_key_folds_notes_that_differ_and_other_objects_stay_apart() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        for number in range(5):
            recorder.event(job(), "Normal", "Progress", f"{number} of 5 pods", key="pods")
        recorder.event(job("u2"), "Normal", "Progress", "0 of 5 pods", key="pods")
        recorder.event(job(), "Warning", "Progress", "0 of 5 pods", key="pods")
        await asyncio.sleep(5)
        assert [body.get("series", {}).get("count") for _, _, body in server.writes] == [5, None, None]

    tell(story)


def test_after_ten_quiet_minutes_the_same_is_a_new_event() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(FORGET_SECONDS + 1)
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(1)
        assert len({name for _, name, _ in server.writes}) == 2

    tell(story)


def test_a_burst_is_written_at_the_bounded_rate() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        for number in range(50):
            recorder.event(job(f"u{number}"), "Normal", "Created", "4 pods")
        await asyncio.sleep(2)
        assert 20 <= len(server.writes) <= 21
        await asyncio.sleep(5)
        assert len(server.writes) == 50

    tell(story, per_second=10)


def test_memory_is_bounded_and_what_is_never_told_is_counted() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        for number in range(1000):
            recorder.event(job(f"u{number}"), "Normal", "Created", "4 pods")
        assert len(recorder._series) == 10
        assert len(recorder._due) <= 20
        assert lost == ["overflow"] * 990
        await asyncio.sleep(5)
        assert [body["regarding"]["uid"] for _, _, body in server.writes] == [f"u{n}" for n in range(990, 1000)]

    tell(story, capacity=10)


@pytest.mark.parametrize("error", [Unavailable(503, "Unavailable", "x"), TooManyRequests(429, "TooManyRequests", "x")])
def test_a_server_in_trouble_is_tried_three_times(error: ApiError) -> None:
    async def once(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(60)
        assert (len(server.writes), lost) == (1, [])

    async def for_good(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(60)
        assert (server.tries, server.writes, lost) == (3, [], [error.reason])
        recorder.event(job(), "Normal", "Other", "still working")
        await asyncio.sleep(60)
        assert len(server.writes) == 1

    tell(once, [error, error])
    tell(for_good, [error, error, error])


@pytest.mark.parametrize("error", [Forbidden(403, "Forbidden", "x"), NotLeading()])
def test_a_refusal_is_not_repeated(error: Exception) -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(60)
        assert (server.tries, len(lost)) == (1, 1)

    tell(story, [error])


def test_a_series_that_the_server_has_forgotten_starts_anew() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(1)
        server.errors.append(NotFound(404, "NotFound", "x"))
        recorder.event(job(), "Normal", "Created", "4 pods")
        await asyncio.sleep(SERIES_SECONDS + 10)
        (_, first, _), (_, second, event) = server.writes
        assert first != second
        assert event["series"]["count"] == 2
        assert event["note"] == "4 pods"
        assert lost == []

    tell(story)


def test_a_note_is_cut_by_bytes_and_a_name_by_length() -> None:
    async def story(recorder: EventRecorder, server: Server, lost: list[str]) -> None:
        recorder.event(job(name="n" * 253), "Normal", "Long", "ü" * 5000)
        await asyncio.sleep(1)
        [(_, name, event)] = server.writes
        assert len(event["note"].encode()) <= NOTE_LIMIT
        assert event["note"].endswith("ü…")
        assert len(name) <= 253

    tell(story)
