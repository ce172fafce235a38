"""Sees all that happens to jobs and pods of a namespace, from the API server itself, and says what must never happen.

Events of one kind come in the order of their versions, so what was true at each moment can be read from them.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.api.stage import JOBS, PODS, condition
from tests.cluster.rest import Client

Object = dict[str, Any]


# Each has something to be looked at in any storm; one that was never looked at has shown nothing.
INVARIANTS = frozenset(
    {"made once", "one attempt at a time", "no more than the gang", "whole gangs", "work done once", "final", "counts"}
)


class Witness:
    """Records from entering to leaving; `faults` and `torsos` judge. `tried` counts what they have looked at."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._collections = {"pods": PODS.format(namespace), "jobs": JOBS.format(namespace)}
        self.events: dict[str, list[tuple[str, Object]]] = {"pods": [], "jobs": []}
        # When each event of a pod came, by a clock that no operator has.
        self._moments: list[float] = []
        self.tried: Counter[str] = Counter()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(kind,), daemon=True) for kind in self.events]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10)

    def _follow(self, kind: str) -> None:
        version = self._client.get(self._collections[kind])["metadata"]["resourceVersion"]
        while not self._ended.is_set():
            query = urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": "2"})
            connection = self._client._connection(timeout=10)
            try:
                connection.request(
                    "GET", f"{self._collections[kind]}?{query}", headers=self._client.headers("application/json")
                )
                for line in connection.getresponse():
                    event = json.loads(line)
                    assert event["type"] != "ERROR", event
                    version = event["object"]["metadata"]["resourceVersion"]
                    if kind == "pods":
                        self._moments.append(time.monotonic())
                    self.events[kind].append((event["type"], event["object"]))
            finally:
                connection.close()

    def faults(self, most: int) -> list[str]:
        """What must never happen, and did. `most`: pods of one attempt at a time."""
        return [*self._pod_faults(most), *self._status_faults(), *self._work_done_again()]

    def torsos(self, longer: float) -> list[str]:
        """Parts of a gang that held resources for longer than so many seconds without the rest being asked for."""
        found: list[str] = []
        sizes, born, holding = self._sizes(), defaultdict(set), defaultdict(set)
        since: dict[tuple[str, str], float] = {}
        for moment, (what, pod) in zip(self._moments, self.events["pods"], strict=False):
            gang, name = _gang(pod), pod["metadata"]["name"]
            born[gang].add(name)
            going = what == "DELETED" or "deletionTimestamp" in pod["metadata"] or _ended(pod)
            (holding[gang].discard if going else holding[gang].add)(name)
            self.tried["whole gangs"] += len(holding[gang]) > 1
            torso = bool(holding[gang]) and len(born[gang]) < sizes.get(gang[0], 0)
            began = since.setdefault(gang, moment) if torso else since.pop(gang, moment)
            if not torso and moment - began > longer:
                found.append(f"{name}: a part of its gang held resources for {moment - began:.1f} s")
        return found + [f"{gang}: a part of a gang is left" for gang in since]

    def untried(self) -> list[str]:
        """Invariants that nothing was looked at for."""
        return sorted(INVARIANTS - {name for name, times in self.tried.items() if times})

    def _work_done_again(self) -> list[str]:
        """Pods that were made after all nodes of an attempt had succeeded."""
        found: list[str] = []
        sizes, succeeded, done = self._sizes(), defaultdict(set), set()
        for what, pod in self.events["pods"]:
            gang, name = _gang(pod), pod["metadata"]["name"]
            if what == "ADDED" and gang[0] in done:
                found.append(f"{name} was made, though all nodes of an attempt before had succeeded")
            if pod["status"].get("phase") == "Succeeded" and "deletionTimestamp" not in pod["metadata"]:
                succeeded[gang].add(name)
            if gang[0] in sizes and len(succeeded[gang]) == sizes[gang[0]]:
                self.tried["work done once"] += 1
                done.add(gang[0])
        return found

    def _sizes(self) -> dict[str, int]:
        """Nodes of each job by its UID, but for elastic ones, which change."""
        jobs = {job["metadata"]["uid"]: job["spec"] for _, job in self.events["jobs"]}
        return {uid: spec["numNodes"] for uid, spec in jobs.items() if "elasticPolicy" not in spec}

    def _pod_faults(self, most: int) -> list[str]:
        found: list[str] = []
        alive: dict[str, dict[str, int]] = defaultdict(dict)
        born: set[tuple[str, str]] = set()
        for what, pod in self.events["pods"]:
            name, marks = pod["metadata"]["name"], pod["metadata"].get("labels") or {}
            job, attempt = marks.get("slipway.dev/job-uid", ""), int(marks.get("slipway.dev/attempt", "0"))
            if what == "ADDED":
                self.tried["made once"] += 1
                self.tried["one attempt at a time"] += attempt > 0
                if (job, name) in born:
                    found.append(f"{name} was made twice")
                born.add((job, name))
                if older := [other for other, n in alive[job].items() if n < attempt]:
                    found.append(f"{name} was made while {older} still ran")
            if what == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed"):
                alive[job].pop(name, None)
            else:
                alive[job][name] = attempt
            same = [other for other, n in alive[job].items() if n == attempt]
            self.tried["no more than the gang"] += len(same) == most
            if len(same) > most:
                found.append(f"{same}: more than {most} pods at once")
        return found

    def _status_faults(self) -> list[str]:
        found: list[str] = []
        last: dict[str, Object] = {}
        for _, job in self.events["jobs"]:
            name, status = job["metadata"]["name"], job.get("status") or {}
            before = last.get(job["metadata"]["uid"], {})
            self.tried["final"] += _holds(status, "Succeeded") or _holds(status, "Failed")
            for end in ("Succeeded", "Failed"):
                if _holds(before, end) and not _holds(status, end):
                    found.append(f"{name} was {end} and is not any more")
            if _holds(status, "Succeeded") and _holds(status, "Failed"):
                found.append(f"{name} has succeeded and failed")
            counts = [state.get("restartCount", 0) for state in (before, status)]
            self.tried["counts"] += counts[1] > counts[0]
            if counts[1] < counts[0] or counts[1] > counts[0] + 1:
                found.append(f"{name}: restartCount went from {counts[0]} to {counts[1]}")
            if status.get("attempt", 0) < before.get("attempt", 0):
                found.append(f"{name}: the attempt went back")
            last[job["metadata"]["uid"]] = status
        return found


def _gang(pod: Object) -> tuple[str, str]:
    marks = pod["metadata"].get("labels") or {}
    return marks.get("slipway.dev/job-uid", ""), marks.get("slipway.dev/attempt", "")


def _ended(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _holds(status: Object, kind: str) -> bool:
    mark = condition(status, kind)
    return mark is not None and mark["status"] == "True"
