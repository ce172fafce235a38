"""A small API server in memory, for the state machine: versions, preconditions, grace periods, watches that lag.

Only what the operator relies on, as Kubernetes does it: a status patch conflicts when the version is not the current
one; a delete with a UID hits that very object; a pod that is bound gets its grace period, one that is not bound or has
ended goes at once. `fail_next` and `crash_after` make writes fail, or the operator die, before or after their effect.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slipway.runtime.client.errors import AlreadyExists, Conflict, Forbidden, NotFound, Unavailable
from slipway.runtime.client.kube import Listing
from slipway.runtime.client.resource import PODS, Object, Resource, uid_of
from slipway.runtime.conditions import format_time
from slipway.trainingjob.job import TRAINING_JOBS

NAMESPACE = "team"


class CrashError(BaseException):
    """The operator's process has died."""


@dataclass
class Server:
    """The objects, their history, and one stream of events per resource."""

    now: Callable[[], datetime]
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    events: dict[str, list[tuple[str, Object]]] = field(default_factory=dict)
    version: int = 100
    born: list[Object] = field(default_factory=list)
    status_history: list[tuple[Object, Object]] = field(default_factory=list)
    pod_quota: int | None = None

    def get(self, resource: Resource, name: str) -> Object:
        if (resource.plural, name) not in self.objects:
            raise NotFound(404, "NotFound", f"{resource.plural} {name} not found")
        return self.objects[resource.plural, name]

    def all(self, resource: Resource) -> list[Object]:
        return [obj for (plural, _), obj in sorted(self.objects.items()) if plural == resource.plural]

    def create(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        name = obj["metadata"]["name"]
        if (resource.plural, name) in self.objects:
            raise AlreadyExists(409, "AlreadyExists", f"{resource.plural} {name} already exists")
        ours = obj["metadata"].get("ownerReferences")
        if resource is PODS and ours and self.pod_quota is not None and len(self.all(PODS)) >= self.pod_quota:
            raise Forbidden(403, "Forbidden", f"exceeded quota: pods, limited: pods={self.pod_quota}")
        made = copy.deepcopy(dict(obj))
        made["metadata"] |= {"uid": f"uid-{self.version}", "namespace": NAMESPACE, "generation": 1}
        if resource is PODS:
            made["status"] = {"phase": "Pending"}
        self.born.append(made)
        return self.store(resource, made, "ADDED")

    def store(self, resource: Resource, obj: Object, event: str = "MODIFIED") -> Object:
        self.version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(self.version)
        self.objects[resource.plural, stored["metadata"]["name"]] = stored
        self.events.setdefault(resource.plural, []).append((event, copy.deepcopy(stored)))
        return copy.deepcopy(stored)

    def remove(self, resource: Resource, name: str) -> Object:
        gone = self.objects.pop((resource.plural, name))
        self.version += 1
        gone["metadata"]["resourceVersion"] = str(self.version)
        self.events.setdefault(resource.plural, []).append(("DELETED", copy.deepcopy(gone)))
        return gone

    def delete(self, resource: Resource, name: str, uid: str | None = None, grace: int | None = None) -> Object:
        obj = self.get(resource, name)
        if uid is not None and uid != uid_of(obj):
            raise Conflict(409, "Conflict", "the UID in the precondition is not the one of the object")
        ended = (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        if resource is not PODS or grace == 0 or ended or not obj["spec"].get("nodeName"):
            return self.remove(resource, name)
        if not obj["metadata"].get("deletionTimestamp"):
            seconds = obj["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
            end = format_time(self.now() + timedelta(seconds=seconds))
            obj["metadata"] |= {"deletionTimestamp": end, "deletionGracePeriodSeconds": seconds}
            return self.store(resource, obj)
        return copy.deepcopy(obj)

    def collect_garbage(self) -> None:
        """What the controller manager does for children whose owner is gone."""
        owners = {uid_of(obj) for obj in self.all(TRAINING_JOBS)}
        for (plural, name), obj in [*self.objects.items()]:
            references = obj["metadata"].get("ownerReferences") or []
            if references and references[0]["uid"] not in owners:
                resource = PODS if plural == "pods" else Resource("", "v1", plural, "Any")
                self.delete(resource, name)


class Kube:
    """The operator's side: the calls of slipway's client that a reconcile makes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.writes = 0
        self.crash_at: int | None = None
        self.crash_first = False
        self.fail_next: bool | None = None  # True: the write takes effect and its answer is lost
        self.dead = False

    def _write(self, effect: Callable[[], Object]) -> Object:
        if self.dead:
            raise CrashError
        self.writes += 1
        dying = self.crash_at is not None and self.writes >= self.crash_at
        self.dead = dying
        if dying and self.crash_first:
            raise CrashError
        lost, self.fail_next = self.fail_next, None
        if lost is False:
            raise Unavailable(500, "InternalError", "etcd is away")
        answer = effect()
        if dying:
            raise CrashError
        if lost is True:
            raise Unavailable(0, "Timeout", "no answer")
        return copy.deepcopy(answer)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        if self.dead:
            raise CrashError
        return copy.deepcopy(self.server.get(resource, name))

    async def list(self, resource: Resource, namespace: str | None = None, **_: Any) -> Listing:
        return Listing(copy.deepcopy(self.server.all(resource)), str(self.server.version))

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        return self._write(lambda: self.server.create(resource, obj))

    async def apply(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        def effect() -> Object:
            there = self.server.get(resource, obj["metadata"]["name"])
            return self.server.store(resource, there | {k: v for k, v in obj.items() if k != "metadata"})

        return self._write(effect)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> Object:
        return self._write(lambda: self.server.delete(resource, name, uid, grace_seconds))

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], *, resource_version: str
    ) -> Object:
        def effect() -> Object:
            obj = copy.deepcopy(self.server.get(resource, name))
            if obj["metadata"]["resourceVersion"] != resource_version:
                raise Conflict(409, "Conflict", "the object has been modified")
            before = copy.deepcopy(obj)
            obj["status"] = merged(obj.get("status") or {}, status)
            written = self.server.store(resource, obj)
            self.server.status_history.append((before, written))
            return written

        return self._write(effect)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
