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


def listen(
    server: Server, clock: Clock, *pods: Object, until: float = 11.0, status: Object | None = None
) -> tuple[StartupEvents, list[Object]]:
    """Look again whenever it is asked for, up to a time."""
    found = StartupEvents(cast("Kube", server), clock)
    while True:
        wait = asyncio.run(found.look(KEY, pods, status))
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
    asyncio.run(gang.look(KEY, pods, None))
    clock.now = startup_events.FIRST_SECONDS
    asyncio.run(gang.look(KEY, pods, None))
    assert len(server.asked) == startup_events.PODS_AT_ONCE
    listen(server, Clock(), *pods, until=300)
    assert set(server.asked) == {f"u{number}" for number in range(64)}


def test_many_jobs_together_ask_within_the_rate_and_each_comes_when_it_is_its_turn() -> None:
    """Refused by a bucket, each of 500 jobs came again for each token: 2,500 looks a second."""
    server, clock, looks = Server(), Clock(), 0
    asker = StartupEvents(cast("Kube", server), clock)
    due = {Key(f"ns{number % 50}", f"j{number}"): 0.0 for number in range(500)}
    while clock.now < 200 and len(set(server.asked)) < 500:
        clock.now = max(clock.now, min(due.values()))
        for key in [key for key, at in due.items() if at <= clock.now]:
            wait = asyncio.run(asker.look(key, [pod(int(key.name[1:]))], None))
            assert wait is not None
            assert wait > 0
            due[key], looks = clock.now + wait, looks + 1
        allowed = startup_events.BURST + startup_events.PER_SECOND * (clock.now - startup_events.FIRST_SECONDS)
        assert len(server.asked) <= max(0, allowed + 1)
    assert len(set(server.asked)) == 500
    assert clock.now < 2 * 500 / startup_events.PER_SECOND
    assert looks < 5 * 500


def test_thousands_of_pods_of_one_namespace_leave_the_others_their_turn() -> None:
    server, clock = Server(), Clock()
    asker = StartupEvents(cast("Kube", server), clock)
    crowd = [(Key("crowd", f"j{number}"), [pod(number)]) for number in range(2000)]
    for key, pods in crowd:
        asyncio.run(asker.look(key, pods, None))
    asyncio.run(asker.look(KEY, [pod(9999)], None))
    clock.now = startup_events.FIRST_SECONDS
    waits = [asyncio.run(asker.look(key, pods, None)) for key, pods in crowd]
    mine = asyncio.run(asker.look(KEY, [pod(9999)], None))
    assert mine is not None
    assert mine <= (startup_events.AHEAD + 1) / startup_events.PER_SECOND
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
    asyncio.run(asker.look(KEY, [pod()], None))
    assert "gone" in observe_pod(asker.told(KEY, [pod()])[0], NOW).obstacle.message  # type: ignore[union-attr]


def test_a_pod_that_no_scheduler_takes_up_is_told_of() -> None:
    _, (told,) = listen(Server(), Clock(), pod(node="", conditions=[]))
    obstacle = observe_pod(told, NOW).obstacle
    assert obstacle is not None
    assert obstacle.reason == Reason.UNSCHEDULABLE
    assert "schedulerName" in obstacle.message


RUNNING = {"type": "Running", "status": "False"}


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": [{**RUNNING, "reason": "VolumeError", "message": "pod p0: FailedMount: gone"}]},
        {"modelStatus": {"lastFailureInfo": {"pod": "p0", "reason": "VolumeError", "message": "FailedMount: gone"}}},
    ],
)
def test_what_was_told_before_a_restart_holds_until_events_are_heard_again(status: Object) -> None:
    server = Server(event("FailedMount", "another"))
    asker, (told,) = listen(server, Clock(), pod(), until=1.0, status=status)
    assert observe_pod(told, NOW).obstacle.message == "FailedMount: gone"  # type: ignore[union-attr]
    assert server.asked == []
    (other,) = asker.told(KEY, [pod(1)])
    assert observe_pod(other, NOW).obstacle is None
    _, (told,) = listen(server, Clock(), pod(), status=status)
    assert observe_pod(told, NOW).obstacle.message == "FailedMount: another"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Unschedulable", "Unscheduled: no scheduler has taken the pod up"),
        ("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu."),
        ("ImagePullError", "ErrImagePull: not found"),
        ("PodsPending", "waiting"),
    ],
)
def test_what_a_status_says_by_the_pod_itself_is_over_when_the_pod_does_not_say_it(reason: str, words: str) -> None:
    status = {"conditions": [{**RUNNING, "reason": reason, "message": f"pod p0: {words}"}]}
    _, (told,) = listen(Server(), Clock(), pod(), until=1.0, status=status)
    assert observe_pod(told, NOW).obstacle is None


def test_of_a_gang_that_waits_the_first_pod_is_told_of_and_stays_the_one() -> None:
    asker = StartupEvents(cast("Kube", Server()), clock := Clock())
    pods = [pod(number, node="", conditions=[]) for number in range(9)]
    for turn in pods:
        turn["metadata"]["uid"] = f"u{9 - int(turn['metadata']['name'][1:])}"
    asyncio.run(asker.look(KEY, pods, None))
    clock.now = startup_events.FIRST_SECONDS
    asyncio.run(asker.look(KEY, pods, None))
    assert [observe_pod(one, NOW).obstacle is not None for one in asker.told(KEY, pods)] == [True] * 4 + [False] * 5


@given(st.text(max_size=3000))
def test_somebody_elses_text_is_one_line_of_bounded_length_without_control_characters(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= startup_events.LONGEST
    assert cleaned.isprintable()


def test_nothing_is_kept_of_pods_that_run_or_of_jobs_that_are_gone() -> None:
    asker, _ = listen(Server(event("FailedMount", "x")), Clock(), pod())
    asyncio.run(asker.look(KEY, [pod(phase="Running")], None))
    assert not asker._waits
    asyncio.run(asker.look(KEY, [pod()], None))
    asker.forget(KEY)
    assert not asker._waits
