"""What tests leave on a server that others use after them: objects without a namespace, and devices that are held.

Files of tests share a server in whatever order pytest-xdist gives them out. Each has namespaces of its own, which go
with the server; a kind, a role, a lost node or a device that nobody gives back changes what the next file sees.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.cluster.rest import ApiError, Client
from tests.cluster.scripted.script import extended_requests

Object = dict[str, Any]
# Controllers make and renew these by themselves: one for each group of a kind, one for each wish of a kubelet.
_OWN = {"apiservices", "componentstatuses", "flowschemas", "prioritylevelconfigurations"}


class Traces:
    """The cluster-wide state of one server, and what has been added to it or taken away since the last look."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._collections = sorted(_cluster_wide(client))
        self.mark()

    def mark(self) -> None:
        """What is there now belongs there."""
        self._before = self._look()

    def left(self, namespaces: set[str]) -> list[str]:
        """What differs from the last look, except for these namespaces; a difference is told once."""
        now = self._look()
        own = {f"namespaces {name}" for name in namespaces}
        gone = [f"{trace}: not any more" for trace in self._before - now]
        added = [trace for trace in now - self._before if trace not in own]
        self._before = now
        return sorted(gone + added)

    def _look(self) -> set[str]:
        found = set()
        for collection in self._collections:
            try:
                items = self._client.get(collection)["items"]
            except ApiError as error:
                if error.code != 404:  # a kind whose definition has gone is a trace of its own
                    raise
                items = []
            plural = collection.rpartition("/")[2]
            # What is going will be gone.
            found |= {_trace(plural, o) for o in items if "deletionTimestamp" not in o["metadata"]}
        return found | set(self._devices())

    def _devices(self) -> list[str]:
        pods = self._client.get("/api/v1/pods?fieldSelector=status.phase=Running")["items"]
        held = {f"{p['metadata']['namespace']}/{p['metadata']['name']}": extended_requests(p) for p in pods}
        return [f"pods {name} hold {', '.join(sorted(devices))}" for name, devices in held.items() if devices]


def _cluster_wide(client: Client) -> set[str]:
    """Paths of all collections without a namespace that can be listed."""
    groups = [group["preferredVersion"]["groupVersion"] for group in client.get("/apis")["groups"]]
    found = set()
    for root in ("/api/v1", *(f"/apis/{version}" for version in groups)):
        for kind in client.get(root)["resources"]:
            plural = kind["name"]
            if not kind["namespaced"] and "list" in kind["verbs"] and "/" not in plural and plural not in _OWN:
                found.add(f"{root}/{plural}")
    return found


def _trace(plural: str, obj: Object) -> str:
    """Its name, and a digest of what others would notice: not of the status, except for whether a node is ready."""
    noticed = {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    if plural == "namespaces":
        return f"{plural} {obj['metadata']['name']}"
    if plural == "nodes":
        marks = obj["status"].get("conditions") or []
        noticed["ready"] = [mark["status"] for mark in marks if mark["type"] == "Ready"]
        noticed["allocatable"] = obj["status"].get("allocatable")
    digest = hashlib.sha256(json.dumps(noticed, sort_keys=True).encode()).hexdigest()[:8]
    return f"{plural} {obj['metadata']['name']} ({digest})"
