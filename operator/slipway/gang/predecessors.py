"""Pods of deleted jobs of the same name: they may still save a checkpoint that the new job will read.

The cache knows a pod's owner by its identity only, so the UIDs that a name has had are remembered while their pods
live: from the pods that are there at the start, and from then on from each job that is looked at.
Used by reconciler.py.
"""

from slipway.reconcile.pods.members import members_of
from slipway.runtime.caching.store import Store
from slipway.runtime.client.resource import Identity, Object, Resource, controller_of, parent_of


class Predecessors:
    """The UIDs of each name, for one kind of owner."""

    def __init__(self, pods: Store, resource: Resource) -> None:
        self._pods = pods
        self._resource = resource
        self._uids: dict[tuple[str, str], set[str]] | None = None

    def predecessors(self, key: tuple[str, str], uid: str) -> list[Object]:
        """Pods of jobs that had this name before the one of this UID."""
        uids = self._known().setdefault(key, set())
        uids.add(uid)
        if len(uids) == 1:
            return []
        found = {other: self._pods_of(key, other) for other in sorted(uids - {uid})}
        uids -= {other for other, pods in found.items() if not pods}
        return [pod for pods in found.values() for pod in pods]

    def forget(self, key: tuple[str, str]) -> list[str]:
        """Forget the job of this name, which is gone; returns the UIDs that nothing is left of."""
        uids = self._known().get(key, set())
        gone = [uid for uid in uids if not self._pods_of(key, uid)]
        uids.difference_update(gone)
        if not uids:
            self._known().pop(key, None)
        return gone

    def _pods_of(self, key: tuple[str, str], uid: str) -> list[Object]:
        namespace, name = key
        return members_of(self._pods, Identity(namespace, self._resource.group, self._resource.kind, uid), name)

    def _known(self) -> dict[tuple[str, str], set[str]]:
        if self._uids is None:
            self._uids = {}
            for pod in self._pods:
                parent, reference = parent_of(pod), controller_of(pod)
                if parent is None or reference is None or self._foreign(parent):
                    continue
                self._uids.setdefault((parent.namespace, str(reference["name"])), set()).add(parent.uid)
        return self._uids

    def _foreign(self, parent: Identity) -> bool:
        return (parent.group, parent.kind) != (self._resource.group, self._resource.kind)
