"""Reduction of objects to what is worth keeping in memory. Passed to `Cache.add`; applied to all events and LISTs.

A whole pod as Python objects takes 15 kB, a thousand jobs of four pods 60 MB; and who may write objects can make each
of them as large as the server takes, 1.5 MB. So what is kept is named, not what is dropped. Each function gives a new
object, leaves its argument alone, and changes nothing when applied again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from slipway.runtime.client.resource import Object

Slim = Callable[[Object], Object]

MAX_MARKS = 64
"""Labels or annotations of ours on one object; there are never more than a dozen."""
MAX_MARK = 256
"""Characters of an annotation's value."""
MAX_FINALIZERS = 4
MAX_CONTAINERS = 16
OWN_CONTAINERS = frozenset({"trainer", "quantizer", "build", "server"})
"""By which pods of ours are judged: kept, wherever among its own an injector puts them."""
MAX_WORDS = 4096
"""Characters of a message: what a kubelet takes of a container's last words."""

_GROUP = "slipway.dev/"
_KEPT = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def slim(obj: Object) -> Object:
    """Strip the metadata to what is read: marks of ours, and the controlling owner."""
    return obj | {"metadata": _metadata(obj["metadata"])}


def slim_link(obj: Object) -> Object:
    """Keep only who it is and whose: of what stands between an owner and its owner's owner."""
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
    return {"metadata": pick(_metadata(obj["metadata"]), *kept)}


def slim_pod(pod: Object) -> Object:
    """Strip the pod's spec, too, all but the node: a pod's spec never changes, and we have rendered it ourselves."""
    node = (pod.get("spec") or {}).get("nodeName")
    thin = slim(pod) | {"spec": {"nodeName": sys.intern(node)} if node else {}}
    if finalizers := pod["metadata"].get("finalizers"):
        kept = [sys.intern(word[:MAX_MARK]) for word in finalizers[:MAX_FINALIZERS]]
        thin["metadata"] = thin["metadata"] | {"finalizers": kept}
    return thin | {"status": _pod_status(pod.get("status") or {})}


def pick(mapping: Mapping[str, Any] | None, *fields: str) -> Object:
    """Dict of the given fields that the mapping has."""
    return {field: mapping[field] for field in fields if field in mapping} if mapping else {}


def conditions(entries: Iterable[Mapping[str, Any]] | None, *more: str) -> list[Object]:
    """Conditions as they are judged by; their messages at most as long as anybody is told."""
    return [
        _words(pick(entry, "type", "status", "reason", "message", *more)) for entry in islice(entries or (), MAX_MARKS)
    ]


def _metadata(metadata: Object) -> Object:
    kept = pick(metadata, *_KEPT)
    if "namespace" in kept:
        kept["namespace"] = sys.intern(kept["namespace"])
    for field in ("labels", "annotations"):
        if marks := _marks(metadata.get(field) or {}):
            kept[field] = marks
    owners = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")][:1]
    return kept | {"ownerReferences": owners} if owners else kept


def _marks(marks: Mapping[str, str]) -> dict[str, str]:
    ours = ((key, value) for key, value in marks.items() if key.startswith(_GROUP) and len(value) <= MAX_MARK)
    return {sys.intern(key): sys.intern(value) for key, value in islice(ours, MAX_MARKS)}


def _pod_status(status: Mapping[str, Any]) -> Object:
    kept = _words(pick(status, "phase", "reason", "message", "podIP", "hostIP"))
    if status.get("conditions"):
        kept["conditions"] = conditions(status["conditions"])
    for field in ("initContainerStatuses", "containerStatuses"):
        if status.get(field):
            kept[field] = [_container(entry) for entry in _weightiest(status[field])]
    return kept


def _weightiest(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if len(entries) <= MAX_CONTAINERS:
        return entries
    # Sorted as they come: applied again, nothing moves.
    return sorted(entries, key=_weight)[:MAX_CONTAINERS]


def _weight(entry: Mapping[str, Any]) -> tuple[bool, bool]:
    ended = bool((entry.get("state") or {}).get("terminated"))
    return entry.get("name") not in OWN_CONTAINERS, ended


def _container(entry: Mapping[str, Any]) -> Object:
    kept = pick(entry, "name", "ready")
    for field in ("state", "lastState"):
        if entry.get(field):
            kept[field] = {how: _state(words) for how, words in entry[field].items()}
    return kept


def _state(words: Mapping[str, Any] | None) -> Object:
    return _words(pick(words, "reason", "message", "exitCode", "signal", "finishedAt", "startedAt"))


def _words(kept: Object) -> Object:
    if len(kept.get("message") or "") > MAX_WORDS:
        kept["message"] = kept["message"][:MAX_WORDS]
    return kept
