"""Sees all that happens to jobs and pods of a namespace, from the API server itself, and says what must never happen.

Events of one kind come in the order of their versions, so what was true at each moment can be read from them.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.api.stage import JOBS, PODS, condition
from tests.cluster.rest import Client

Object = dict[str, Any]


class Witness:
    """Records from entering to leaving; `faults` judges."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._collections = {"pods": PODS.format(namespace), "jobs": JOBS.format(namespace)}
        self.events: dict[str, list[tuple[str, Object]]] = {"pods": [], "jobs": []}
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
                    self.events[kind].append((event["type"], event["object"]))
            finally:
                connection.close()

    def faults(self, most: int) -> list[str]:
        """What must never happen, and did. `most`: pods of one attempt at a time."""
        return [*self._pod_faults(most), *self._status_faults()]

    def _pod_faults(self, most: int) -> list[str]:
        found: list[str] = []
        alive: dict[str, dict[str, int]] = defaultdict(dict)
        born: set[tuple[str, str]] = set()
        for what, pod in self.events["pods"]:
            name, marks = pod["metadata"]["name"], pod["metadata"].get("labels") or {}
            job, attempt = marks.get("slipway.dev/job-uid", ""), int(marks.get("slipway.dev/attempt", "0"))
            if what == "ADDED":
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
            if len(same) > most:
                found.append(f"{same}: more than {most} pods at once")
        return found

    def _status_faults(self) -> list[str]:
        found: list[str] = []
        last: dict[str, Object] = {}
        for _, job in self.events["jobs"]:
            name, status = job["metadata"]["name"], job.get("status") or {}
            before = last.get(job["metadata"]["uid"], {})
            for end in ("Succeeded", "Failed"):
                if _holds(before, end) and not _holds(status, end):
                    found.append(f"{name} was {end} and is not any more")
            if _holds(status, "Succeeded") and _holds(status, "Failed"):
                found.append(f"{name} has succeeded and failed")
            counts = [state.get("restartCount", 0) for state in (before, status)]
            if counts[1] < counts[0] or counts[1] > counts[0] + 1:
                found.append(f"{name}: restartCount went from {counts[0]} to {counts[1]}")
            if status.get("attempt", 0) < before.get("attempt", 0):
                found.append(f"{name}: the attempt went back")
            last[job["metadata"]["uid"]] = status
        return found


def _holds(status: Object, kind: str) -> bool:
    mark = condition(status, kind)
    return mark is not None and mark["status"] == "True"
