"""Events about pods that do not start: why a volume, a sandbox or a network is not there stands nowhere else.

A pod in ContainerCreating says nothing of a missing ConfigMap, a claim that another node holds or an NFS server that
is away; its kubelet says it in an Event. Nobody watches all events of a cluster for that: those of a few pods are
asked for, once they have waited for some seconds, less and less often. Soft state: after a restart what the status
tells of a pod holds until its events are heard again, or the status of all that wait would be written twice.

Who may create events in the namespace can write what he likes into one: the text is cleaned and cut, told as an
event's, and nothing is decided by it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway.reconcile.plan import soonest
from slipway.reconcile.pods.observed import COMPLAINT, complaint_reason, observe_pod
from slipway.runtime.caching.store import Key
from slipway.runtime.client.errors import ApiError, Forbidden
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import POD_EVENTS, Object, uid_of
from slipway.runtime.conditions import shorten
from slipway.runtime.rate import Turns

# Pods that start well have done so by then, but for large images.
FIRST_SECONDS = 10.0
LAST_SECONDS = 300.0
# Of a large gang so many pods are asked about at a time, those that were asked about least first.
PODS_AT_ONCE = 4
# Of one pod. Kubelets make one event of equal ones; others can make each of them as large as the server takes.
EVENTS = 6
LONGEST = 512
# Of all jobs together: the server looks through all events of a namespace for each question.
PER_SECOND, BURST = 5.0, 20.0
# Of a namespace so many questions lie ahead; pods beyond them come again.
AHEAD, CROWDED_SECONDS = 20, 30.0
# The scheduler's words are in the pod's own condition.
_FIELDS = "involvedObject.kind=Pod,involvedObject.uid={},type=Warning,reason!=FailedScheduling"
# What a kubelet adds when it has waited for long enough: the cause is in an event before it.
_LATE = ("Unable to attach or mount volumes", "error syncing pod")
_UNSCHEDULED = "Unscheduled"


@dataclass
class _Wait:
    """One pod that does not start. Times in seconds of the clock."""

    due: float
    asked: int = 0
    words: str = ""
    # Whether its turn to be asked about is when it is due.
    has_turn: bool = False


class StartupEvents:
    """Warnings in events about pods that wait, by the job or service that the pods are of."""

    def __init__(self, kube: Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._waits: dict[Key, dict[str, _Wait]] = {}
        self._turns = Turns(PER_SECOND, BURST, AHEAD, clock=clock)

    async def look(
        self, key: Key, pods: Iterable[Object], status: Mapping[str, Any] | None, patience: float = FIRST_SECONDS
    ) -> float | None:
        """Ask what is due; returns the seconds until something is due again, None where no pod waits.

        `status`: the job's or service's, as it is; `patience`: seconds that a pod may wait before anybody is asked.
        """
        now = self._clock()
        known, waiting = self._waits.get(key, {}), {uid_of(pod): pod for pod in pods if _waits(pod)}
        if not waiting:
            self._waits.pop(key, None)
            return None
        waits = {
            uid: known.get(uid) or _Wait(now + patience, words=words_of(status or {}, pod))
            for uid, pod in waiting.items()
        }
        self._waits[key] = waits
        # In the order in which they are looked at: the first that does not start is told of, and stays the one.
        due = sorted((uid for uid in waits if waits[uid].due <= now), key=lambda uid: waits[uid].asked)
        turn = [uid for uid in due[:PODS_AT_ONCE] if self._has_turn(key, waits[uid], waiting[uid], now)]
        for uid in turn:
            waits[uid].asked += 1
            waits[uid].due = now + min(LAST_SECONDS, patience * 2 ** min(waits[uid].asked, 16))
        await asyncio.gather(*(self._ask(waits[uid], waiting[uid]) for uid in turn))
        # Those that have to wait for their gang's next turn come soon.
        passed = due[PODS_AT_ONCE:]
        return soonest(patience if passed else None, _next(waits, self._clock(), skip=passed))

    def _has_turn(self, key: Key, wait: _Wait, pod: Object, now: float) -> bool:
        """Tell whether a pod that is due may be asked about now; else it is due when it may."""
        if wait.has_turn or not _taken(pod):
            wait.has_turn = False
            return True
        pause = self._turns.take(key.namespace)
        if pause == 0:
            return True
        wait.due, wait.has_turn = now + (pause or CROWDED_SECONDS), pause is not None
        return False

    def forget(self, key: Key) -> None:
        """Forget a job or service that is gone."""
        self._waits.pop(key, None)

    def told(self, key: Key, pods: Iterable[Object]) -> list[Object]:
        """Add to the pods what is known of them: in metadata, in a field that no server knows."""
        waits = self._waits.get(key)
        return [_with(pod, waits.get(uid_of(pod))) for pod in pods] if waits else [*pods]

    async def _ask(self, wait: _Wait, pod: Object) -> None:
        if not _taken(pod):
            wait.words = (
                f"{_UNSCHEDULED}: no scheduler has taken the pod up: pod.schedulerName must name one that runs, "
                "or be left out"
            )
            return
        namespace, uid = pod["metadata"]["namespace"], uid_of(pod)
        try:
            found = await self._kube.some(POD_EVENTS, namespace, fields=_FIELDS.format(uid), limit=EVENTS)
        except Forbidden as error:
            wait.words = f"EventsUnreadable: {clean(error.message)}"
        except ApiError:
            # Asked again when the pod is due again; what was heard before stays.
            return
        else:
            wait.words = worst(found, uid) or wait.words


def words_of(status: Mapping[str, Any], pod: Object) -> str:
    """Words that a status has of a pod by an event, as it was heard; "" where it tells nothing, or something else."""
    name, failure = pod["metadata"]["name"], (status.get("modelStatus") or {}).get("lastFailureInfo") or {}
    found: list[tuple[Any, str]] = []
    if failure.get("pod") == name:
        found.append((failure.get("reason"), str(failure.get("message") or "")))
    for mark in status.get("conditions") or ():
        about, _, words = str(mark.get("message") or "").partition(": ")
        if mark.get("type") == "Running" and about == f"pod {name}":
            found.append((mark.get("reason"), words))
    for reason, words in found:
        if words and reason == complaint_reason(words) and not (words.startswith(_UNSCHEDULED) and _taken(pod)):
            return words
    return ""


def worst(events: Sequence[Mapping[str, Any]], uid: str) -> str:
    """`Reason: message` of the event that says most about the pod of this UID, the newest of equals; "" for none."""
    about = [event for event in events if (event.get("involvedObject") or {}).get("uid") == uid]
    about = [event for event in about if event.get("type") == "Warning" and event.get("reason")]
    if not about:
        return ""
    event = max(about, key=lambda event: (not str(event.get("message") or "").startswith(_LATE), _time(event)))
    return f"{clean(event['reason'], 64).replace(':', ' ')}: {clean(event.get('message') or 'no further words')}"


def clean(text: str, limit: int = LONGEST) -> str:
    """Somebody else's text on one line, without what a terminal would obey."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * limit])
    return shorten(" ".join(printable.split()), limit)


def _time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    times = series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")
    return next((str(at) for at in times if at), "")


def _waits(pod: Object) -> bool:
    """Tell whether the pod has not begun, and nothing in it says why."""
    waiting = ((pod.get("status") or {}).get("phase") or "Pending") == "Pending"
    if not waiting or pod["metadata"].get("deletionTimestamp"):
        return False
    return observe_pod(pod, datetime.now(UTC)).obstacle is None


def _taken(pod: Object) -> bool:
    """Tell whether a scheduler has said anything of the pod."""
    told = (pod.get("status") or {}).get("conditions") or []
    return bool((pod.get("spec") or {}).get("nodeName")) or any(mark.get("type") == "PodScheduled" for mark in told)


def _next(waits: Mapping[str, _Wait], now: float, skip: Sequence[str]) -> float | None:
    passed = set(skip)
    return soonest(*(max(0.0, wait.due - now) for uid, wait in waits.items() if uid not in passed))


def _with(pod: Object, wait: _Wait | None) -> Object:
    if wait is None or not wait.words:
        return pod
    return {**pod, "metadata": {**pod["metadata"], COMPLAINT: wait.words}}
