"""What events say of pods that wait: whom to ask when, what is believed, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.types import Reason
from slipway.reconcile.pods import startup_events
from slipway.reconcile.pods.observed import observe_pod
from slipway.reconcile.pods.startup_events import StartupEvents, clean, worst
from slipway.runtime.caching.store import Key
from slipway.runtime.client.errors import ApiError, Forbidden, Unavailable
from slipway.runtime.client.kube import Kube

Object = dict[str, Any]
KEY = Key("ns", "job")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def pod(number: int = 0, node: str = "node-0", **status: Any) -> Object:
    metadata = {"name": f"p{number}", "namespace": "ns", "uid": f"u{number}"}
    said: Object = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": {**said, **status}}


def event(reason: str, message: str, *, uid: str = "u0", at: str = "2026-11-29T00:00:00Z", **more: Any) -> Object:
    about = {"kind": "Pod", "uid": uid}
    return {
        "involvedObject": about,
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        **more,
    }


class Server:
    """Answers as an API server would, and counts."""

    def __init__(self, *events: Object, error: ApiError | None = None) -> None:
        self.events, self.error = events, error
        self.asked: list[str] = []

    async def some(self, resource: Any, namespace: str, *, fields: str, limit: int) -> Sequence[Object]:
        self.asked.append(fields.split("involvedObject.uid=")[1].split(",", maxsplit=1)[0])
        if self.error is not None:
            raise self.error
        return self.events[:limit]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def listen(server: Server, clock: Clock, *pods: Object, until: float = 11.0) -> tuple[StartupEvents, list[Object]]:
    """Look again whenever it is asked for, up to a time."""
    found = StartupEvents(cast("Kube", server), clock)
    while True:
        wait = asyncio.run(found.look(KEY, pods))
        if wait is None or clock.now + wait > until:
            return found, found.told(KEY, pods)
        clock.now += max(wait, 0.01)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (event("FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "c" not found'), "VolumeError"),
        (event("FailedAttachVolume", "Multi-Attach error for volume pvc-1"), "VolumeError"),
        (event("FailedCreatePodSandBox", "plugin type=calico failed"), "PodSandboxError"),
        (event("NetworkNotReady", "cni plugin not initialized"), "PodSandboxError"),
        (event("SomethingNew", "of a later release"), "PodNotStarted"),
    ],
)
def test_what_an_event_says_is_why_the_pod_does_not_run(said: Object, reason: str) -> None:
    _, (told,) = listen(Server(said), Clock(), pod())
    obstacle = observe_pod(told, NOW).obstacle
    assert obstacle is not None
    assert (obstacle.reason, obstacle.message) == (Reason(reason), f"{said['reason']}: {said['message']}")


def test_a_pod_that_starts_in_time_is_not_asked_about() -> None:
    server = Server()
    listen(server, Clock(), pod(), until=startup_events.FIRST_SECONDS - 0.1)
    running, creating = pod(phase="Running"), pod(1, metadata={})
    named = pod(2, containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}])
    creating["metadata"]["deletionTimestamp"] = "2026-11-29T00:00:00Z"
    listen(server, Clock(), running, creating, named, until=1000)
    assert server.asked == []


def test_a_pod_is_asked_about_less_and_less_often() -> None:
    server, clock = Server(), Clock()
    listen(server, clock, pod(), until=3600)
    assert 10 <= len(server.asked) <= 18


def test_each_pod_of_a_large_gang_has_its_turn_and_few_at_a_time() -> None:
    server, clock = Server(), Clock()
    pods = [pod(number) for number in range(64)]
    gang = StartupEvents(cast("Kube", server), clock)
    asyncio.run(gang.look(KEY, pods))
    clock.now = startup_events.FIRST_SECONDS
    asyncio.run(gang.look(KEY, pods))
    assert len(server.asked) == startup_events.PODS_AT_ONCE
    listen(server, Clock(), *pods, until=300)
    assert set(server.asked) == {f"u{number}" for number in range(64)}


def test_many_jobs_together_ask_within_the_rate() -> None:
    server, clock = Server(), Clock()
    asker = StartupEvents(cast("Kube", server), clock)
    for number in range(500):
        asyncio.run(asker.look(Key("ns", f"j{number}"), [pod(number)]))
    clock.now = startup_events.FIRST_SECONDS
    waits = [asyncio.run(asker.look(Key("ns", f"j{number}"), [pod(number)])) for number in range(500)]
    assert len(server.asked) == startup_events.BURST
    assert all(wait is not None and wait > 0 for wait in waits)


def test_the_cause_is_told_and_not_that_the_kubelet_gave_up_waiting() -> None:
    cause = event("FailedAttachVolume", "Multi-Attach error", at="2026-11-29T00:00:00Z")
    late = event("FailedMount", "Unable to attach or mount volumes: timed out", at="2026-11-29T00:02:00Z")
    assert worst([cause, late], "u0") == "FailedAttachVolume: Multi-Attach error"
    assert worst([late], "u0").startswith("FailedMount: Unable")


def test_events_about_others_and_of_other_types_are_not_told() -> None:
    assert worst([event("FailedMount", "x", uid="u1"), event("Pulling", "x", type="Normal")], "u0") == ""


def test_a_right_that_is_missing_is_told_and_an_outage_keeps_what_was_heard() -> None:
    words = 'events is forbidden: User "u" cannot list resource "events"'
    _, (told,) = listen(Server(error=Forbidden(403, "Forbidden", words)), Clock(), pod())
    assert words in observe_pod(told, NOW).obstacle.message  # type: ignore[union-attr]
    server, clock = Server(event("FailedMount", "gone")), Clock()
    asker, _ = listen(server, clock, pod())
    server.error, clock.now = Unavailable(503, "", ""), 100.0
    asyncio.run(asker.look(KEY, [pod()]))
    assert "gone" in observe_pod(asker.told(KEY, [pod()])[0], NOW).obstacle.message  # type: ignore[union-attr]


def test_a_pod_that_no_scheduler_takes_up_is_told_of() -> None:
    _, (told,) = listen(Server(), Clock(), pod(node="", conditions=[]))
    obstacle = observe_pod(told, NOW).obstacle
    assert obstacle is not None
    assert obstacle.reason == Reason.UNSCHEDULABLE
    assert "schedulerName" in obstacle.message


@given(st.text(max_size=3000))
def test_somebody_elses_text_is_one_line_of_bounded_length_without_control_characters(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= startup_events.LONGEST
    assert cleaned.isprintable()


def test_nothing_is_kept_of_pods_that_run_or_of_jobs_that_are_gone() -> None:
    asker, _ = listen(Server(event("FailedMount", "x")), Clock(), pod())
    asyncio.run(asker.look(KEY, [pod(phase="Running")]))
    assert not asker._waits
    asyncio.run(asker.look(KEY, [pod()]))
    asker.forget(KEY)
    assert not asker._waits
