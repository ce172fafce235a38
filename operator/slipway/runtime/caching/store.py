"""Store of one resource's objects, which keeps the newer of two versions. The heart of `cache`.

A store is fed from four sides that race each other: watch events, LISTs, the answers to our own writes, and events that
come late. The rules:

- resourceVersions of one resource compare as numbers: Kubernetes promises it (KEP-5504), and etcd has always done so.
  Where one is not a number, order of arrival decides, and a LIST leaves alone what was touched while it was under way.
- a UID seen to be deleted leaves a tombstone for some minutes, so that an old event or LIST can't bring it back. (An
  object that lost our label counts as deleted; when it gets it again, its version is newer than the tombstone's.)
- an answer to our own write is put in at once, so that the next reconcile sees it even if the watch is behind.
- if a consistent LIST is older than what we hold, the server's history was rewound (etcd restored): believe the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from slipway.runtime.client.resource import Identity, Object, name_of, namespace_of, parent_of, uid_of
from slipway.runtime.client.transform import Slim, slim

TOMBSTONE_SECONDS = 600.0
"""Longer than any LIST or event can be under way."""


class Key(NamedTuple):
    """Namespace and name of an object; `namespace` is "" for cluster-scoped ones."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One object is not as it was. `old` None: it is new; `new` None: it is gone. Both, with two UIDs: a successor.

    `last`: what is gone as the event of its deletion tells it, which may be the first to tell how it ended.
    """

    key: Key
    old: Object | None
    new: Object | None
    last: Object | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The moment before a LIST was sent; from `Store.begin`."""

    sequence: int
    highest: int
    consistent: bool


@dataclass(slots=True)
class _Entry:
    obj: Object
    uid: str
    version: int | None
    sequence: int
    parent: Identity | None


@dataclass(frozen=True, slots=True)
class _Tombstone:
    version: int | None
    sequence: int
    at: float


class Store:
    """The objects of one resource, by name and by controlling parent. What it hands out must not be changed."""

    def __init__(
        self,
        slim: Slim = slim,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Change], None] = lambda change: None,
    ) -> None:
        """`on_change` hears of what `put` and `put_deleted` change; the other methods return their changes."""
        self._slim = slim
        self._clock = clock
        self._on_change = on_change
        self._entries: dict[Key, _Entry] = {}
        self._children: dict[Identity, set[Key]] = {}
        self._moved: dict[Identity, int] = {}  # the sequence of the last change of anything of a parent's children
        self._tombstones: dict[str, _Tombstone] = {}  # in order of their age
        self._sequence = 0
        self._highest = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Object]:
        """All objects, in no order; the store may change meanwhile."""
        return iter([entry.obj for entry in self._entries.values()])

    def get(self, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        entry = self._entries.get(Key(namespace, name))
        return entry.obj if entry else None

    def knew(self, uid: str) -> bool:
        """Tell whether an object of this UID was here lately: it is gone, or not seen by our labels any more."""
        return uid in self._tombstones

    def children(self, parent: Identity) -> list[Object]:
        """The objects in its namespace whose controlling owner is this very object, by name."""
        return [self._entries[key].obj for key in sorted(self._children.get(parent, ()))]

    def moved(self, parent: Identity) -> int:
        """A number that is another one whenever `children` would be: also of a change that nobody is told of."""
        return self._moved.get(parent, 0)

    def observe(self, event_type: str | None, obj: Object) -> Change | None:
        """Take in a watch event: ADDED, MODIFIED, DELETED, or None for an object of a watch's first listing.

        None if nothing that we keep has changed: old news, the echo of our own write, a stripped field.
        """
        if event_type == "DELETED":
            return self._remove(_key(obj), uid_of(obj), _version(obj), self._slim(obj))
        return self._take(obj, reborn=event_type == "ADDED")

    def put(self, obj: Object, *, quiet: bool = False) -> None:
        """Take in the server's answer to our own get or write, before the watch tells of it; its echo is no news then.

        So `on_change` is told now: the answer may hold what somebody else did, and nothing else would wake the key.
        `quiet` only where that can't be: the answer to a create, or to a patch that named its resourceVersion.
        """
        change = self._take(obj)
        if not quiet:
            self._tell(change)

    def put_deleted(self, obj: Object, answer: Object, now: str) -> None:
        """Take in the answer to our own delete of `obj`; `now` as metav1.Time.

        A Status means gone. An object is on its way out, even if the answer (an immediate deletion) does not say when.
        """
        if answer.get("kind") == "Status":
            self._tell(self._remove(_key(obj), uid_of(obj), None))
        elif uid_of(answer) == uid_of(obj):
            metadata = {"deletionTimestamp": now} | answer["metadata"]
            entry = self._entries.get(_key(obj))
            if entry is not None and entry.uid == uid_of(obj) and entry.version == _version(answer):
                known = entry.obj | {"metadata": {"deletionTimestamp": now} | entry.obj["metadata"]}
                self._set(_key(obj), known, entry.uid, entry.version)
            else:
                self._tell(self._take(answer | {"metadata": metadata}))

    def _tell(self, change: Change | None) -> None:
        if change is not None:
            self._on_change(change)

    def sieve(self) -> Slim:
        """Function for a LIST, page by page: it reduces each object to what has to be kept until `replace`."""
        return self._slim

    def begin(self, *, consistent: bool) -> Mark:
        """Call before sending a LIST; `consistent` if it asks for the newest state (no resourceVersion=0)."""
        return Mark(self._sequence, self._highest, consistent)

    def replace(
        self, items: Iterable[Object], resource_version: str, since: Mark, namespace: str | None = None
    ) -> list[Change]:
        """Bring the content in line with a LIST (of one namespace, or of all); returns the changes, ghosts too."""
        snapshot = int(resource_version) if resource_version.isdigit() else None
        if since.consistent and snapshot is not None and snapshot < since.highest:
            self._distrust()
        changes: list[Change | None] = []
        listed: set[Key] = set()
        for obj in items:
            key = _key(obj)
            listed.add(key)
            entry = self._entries.get(key)
            if entry is None or not self._undecidable(entry, _version(obj), since):
                changes.append(self._take(obj, reborn=self._reborn(uid_of(obj), since)))
        for key, entry in [*self._entries.items()]:
            if key in listed or (namespace is not None and key.namespace != namespace):
                continue
            if self._undecidable(entry, snapshot, since) or _newer(entry.version, snapshot):
                continue  # made, or changed, after the LIST's moment
            changes.append(self._remove(key, entry.uid, snapshot))
        return [change for change in changes if change is not None]

    @staticmethod
    def _undecidable(entry: _Entry, version: int | None, since: Mark) -> bool:
        """Tell whether the newer one is unknown: versions that don't compare, and an event during the LIST."""
        return (entry.version is None or version is None) and entry.sequence > since.sequence

    def _reborn(self, uid: str, since: Mark) -> bool:
        """Tell whether a consistent LIST was sent after this UID was buried, and so knows better."""
        stone = self._tombstones.get(uid)
        return stone is not None and since.consistent and stone.sequence <= since.sequence

    def _take(self, obj: Object, *, reborn: bool = False) -> Change | None:
        key, uid, version = _key(obj), uid_of(obj), _version(obj)
        if self._buried(uid, version, reborn):
            return None
        entry = self._entries.get(key)
        if entry is not None:
            if entry.uid == uid and _raw_version(entry.obj) == _raw_version(obj):
                entry.version = version
                return None
            if _newer(entry.version, version):
                if entry.uid != uid:
                    self._bury(uid, version)
                return None
        return self._set(key, self._slim(obj), uid, version)

    def _set(self, key: Key, obj: Object, uid: str, version: int | None) -> Change | None:
        old = self._entries.get(key)
        self._sequence += 1
        if old is not None:
            self._unlink(key, old)
            if old.uid != uid:
                self._bury(old.uid, old.version)
        parent = parent_of(obj)
        self._highest = max(self._highest, version or 0)
        self._tombstones.pop(uid, None)
        self._entries[key] = _Entry(obj, uid, version, self._sequence, parent)
        if parent is not None:
            self._children.setdefault(parent, set()).add(key)
            self._moved[parent] = self._sequence
        if old is not None and _same_content(old.obj, obj):
            return None
        return Change(key, old.obj if old else None, obj)

    def _remove(self, key: Key, uid: str, version: int | None, last: Object | None = None) -> Change | None:
        """Take an object out for good, unless what we hold is its successor or a newer version of it."""
        entry = self._entries.get(key)
        if entry is not None and entry.uid == uid and _newer(entry.version, version):
            return None
        self._sequence += 1
        self._bury(uid, version)
        self._highest = max(self._highest, version or 0)
        if entry is None or entry.uid != uid:
            return None
        del self._entries[key]
        self._unlink(key, entry)
        return Change(key, entry.obj, None, last)

    def _unlink(self, key: Key, entry: _Entry) -> None:
        siblings = self._children.get(entry.parent) if entry.parent is not None else None
        if siblings is not None and entry.parent is not None:
            siblings.discard(key)
            self._moved[entry.parent] = self._sequence
            if not siblings:
                del self._children[entry.parent], self._moved[entry.parent]

    def _buried(self, uid: str, version: int | None, reborn: bool) -> bool:
        stone = self._tombstones.get(uid)
        if stone is None:
            return False
        if stone.version is None or version is None:
            return not reborn
        return version <= stone.version

    def _bury(self, uid: str, version: int | None) -> None:
        now = self._clock()
        self._tombstones.pop(uid, None)
        self._tombstones[uid] = _Tombstone(version, self._sequence, now)
        while (oldest := next(iter(self._tombstones))) and self._tombstones[oldest].at < now - TOMBSTONE_SECONDS:
            del self._tombstones[oldest]

    def _distrust(self) -> None:
        """Forget how new everything is: the server's clock of versions has been set back."""
        self._tombstones.clear()
        self._highest = 0
        for entry in self._entries.values():
            entry.version = 0


def _key(obj: Object) -> Key:
    return Key(namespace_of(obj), name_of(obj))


def _raw_version(obj: Object) -> str | None:
    return obj["metadata"].get("resourceVersion")  # type: ignore[no-any-return]


def _version(obj: Object) -> int | None:
    text = _raw_version(obj) or ""
    return int(text) if text.isdigit() else None


def _newer(version: int | None, than: int | None) -> bool:
    return version is not None and than is not None and version > than


def _same_content(a: Object, b: Object) -> bool:
    """Equal but for the resourceVersion: a heartbeat in a field that `slim` drops is no news."""
    if a.keys() != b.keys() or uid_of(a) != uid_of(b):
        return False
    return all(_unversioned(a[key]) == _unversioned(b[key]) if key == "metadata" else a[key] == b[key] for key in a)


def _unversioned(metadata: Object) -> Object:
    return {key: value for key, value in metadata.items() if key != "resourceVersion"}
