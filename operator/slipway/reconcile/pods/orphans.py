"""Pods of a job whose ownerReferences somebody took away, or gave to another owner: by UID, while they live.

A pod without its owner is nobody's child, and was taken for gone: a second attempt ran beside it, and both wrote to
one checkpoint. It stays the job's until it has ended, as it was labelled when it was seen to be the job's own. That
it ever was is what only the past tells, since anybody may write labels. Soft state: after a restart the executor finds
a pod of the current attempt under its name, and one of an attempt before is ended and waited for by its labels: the
operator that began the next attempt may have been killed before it asked the pod to go.
"""

from typing import NamedTuple

from slipway.reconcile.labels import ATTEMPT, JOB_UID, KIND
from slipway.reconcile.pods.members import bears_name
from slipway.reconcile.pods.observed import STRAY
from slipway.runtime.caching.store import Change, Key, Store
from slipway.runtime.client.resource import (
    Identity,
    Object,
    Resource,
    controller_of,
    identity_of,
    name_of,
    namespace_of,
    parent_of,
    uid_of,
)


def was_ours(pods: Store, job: Object, pod: Object) -> bool:
    """Tell whether a pod under the name of one of the job's is the one we made: by its UID, or by the job's."""
    marks = pod["metadata"].get("labels") or {}
    return marks.get(JOB_UID) == uid_of(job) or pods.knew(uid_of(pod))


class _Orphan(NamedTuple):
    """`sure`: it was seen to be the job's own, or was asked to go; else its labels alone say so."""

    job: Identity
    key: Key
    labels: dict[str, str]
    sure: bool


class OrphanedPods:
    """Stray pods of one kind of job: they have lost their owner, or have another."""

    def __init__(self, pods: Store, resource: Resource) -> None:
        self._pods = pods
        self._resource = resource
        self._known: dict[str, _Orphan] = {}
        self._of: dict[Identity, set[str]] = {}

    def changed(self, change: Change) -> None:
        """Notice a pod that loses its owner, gets it back, or goes."""
        old, new = change.old, change.new
        if old is not None and (new is None or uid_of(new) != uid_of(old)):
            self._forget(uid_of(old))
        if new is None:
            return
        known, owner = self._known.get(uid_of(new)), parent_of(new)
        if known is not None:
            if owner == known.job:
                self._forget(uid_of(new))
            elif new["metadata"].get("deletionTimestamp"):
                self._known[uid_of(new)] = known._replace(sure=True)
            return
        last = old if old is not None and uid_of(old) == uid_of(new) and parent_of(old) is not None else new
        before = self._labelled(new) if last is new else parent_of(last)
        if before is None or before == owner or not self._is_job(before):
            return
        sure = last is not new or bool(new["metadata"].get("deletionTimestamp"))
        self._known[uid_of(new)] = _Orphan(before, change.key, dict(last["metadata"].get("labels") or {}), sure)
        self._of.setdefault(before, set()).add(uid_of(new))

    def of(self, job: Object) -> list[Object]:
        """Orphans of one job, with a mark by which they are known as such."""
        found, name = [], name_of(job)
        for uid in sorted(self._of.get(identity_of(job, self._resource), ())):
            stray = self._known[uid]
            pod = self._pods.get(*stray.key)
            if pod is None or uid_of(pod) != uid:
                continue
            marks = {"labels": stray.labels | {KIND: self._resource.kind}, STRAY: "true"}
            pod = pod | {"metadata": pod["metadata"] | marks}
            # One of an attempt that the job has not come to yet would be no pod of its past.
            reached = (job.get("status") or {}).get("attempt") or 0
            reached -= 0 if stray.sure else 1
            if bears_name(pod, name, self._resource.kind) and int(pod["metadata"]["labels"][ATTEMPT]) <= reached:
                found.append(pod)
        return sorted(found, key=name_of)

    def _labelled(self, pod: Object) -> Identity | None:
        """Job that the labels of a pod without an owner name."""
        marks = pod["metadata"].get("labels") or {}
        if controller_of(pod) is not None:
            return None
        uid = marks.get(JOB_UID) if marks.get(KIND) == self._resource.kind else None
        return Identity(namespace_of(pod), self._resource.group, self._resource.kind, uid) if uid else None

    def _is_job(self, owner: Identity) -> bool:
        return (owner.group, owner.kind) == (self._resource.group, self._resource.kind)

    def _forget(self, uid: str) -> None:
        known = self._known.pop(uid, None)
        if known is None:
            return
        self._of[known.job].discard(uid)
        if not self._of[known.job]:
            del self._of[known.job]
