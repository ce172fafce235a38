"""Execution of plans against the API server, for every kind that runs to completion. Called by their reconcile.py.

Crash-safe by order: a status that holds a decision goes first, deterministic names make every write repeatable, and
what the server answers is put into the cache at once: the next look never starts from before our own writes.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.api.common.types import Reason
from slipway.reconcile.decision_log import log_decisions
from slipway.reconcile.parallel_requests import abreast
from slipway.reconcile.patch import merge_patch
from slipway.reconcile.plan import Delete, Notice, Patch, Plan, Write, soonest
from slipway.reconcile.pods.members import is_member
from slipway.reconcile.pods.orphans import was_ours
from slipway.reconcile.pruned_fields import PRUNED
from slipway.reconcile.quota_lanes import QuotaLanes
from slipway.reconcile.refusal import refused_in_words
from slipway.reconcile.run_state import read_run
from slipway.runtime.caching.cache import Cache
from slipway.runtime.client.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound, Terminal, Transient
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import (
    PODS,
    Object,
    Resource,
    controller_of,
    identity_of,
    name_of,
    namespace_of,
    parent_of,
    uid_of,
)
from slipway.runtime.conditions import format_time

Record = Callable[[Object, Notice], None]

# A write of soft fields alone waits until the last status write is so old.
SOFT_SECONDS = 5.0
# So many pods are tried first: a quota that refuses a gang of hundreds is asked no more often than this.
FIRST_PODS = 8
# Another gang is being made where a quota is short.
BUSY_SECONDS = 0.2


class Executor:
    """Executor of plans for the objects of one resource."""

    def __init__(
        self, kube: Kube, cache: Cache, resource: Resource, soft_fields: frozenset[str], record: Record
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._resource = resource
        self._soft = soft_fields
        self._record = record
        self._lanes = QuotaLanes()
        # UID -> monotonic time of the last status write; lost at a restart, which costs one early write.
        self._written: dict[str, float] = {}

    async def execute(self, job: Object, plan: Plan) -> float | None:
        """Carry out the plan; returns seconds until the job wants to be looked at again, or None."""
        if plan.delete_job:
            await self._delete_job(job)
            return None
        if await self._outdated(job, plan):
            return 0.0
        self._warn(job, plan)
        with self._lanes.enter(namespace_of(job), plan.writes) as free:
            return await self._carry_out(job, plan) if free else BUSY_SECONDS

    def _warn(self, job: Object, plan: Plan) -> None:
        """Tell of fields that the server dropped: at the first look at a generation, which the status then tells of."""
        seen = (job.get("status") or {}).get("observedGeneration") == job["metadata"].get("generation")
        if job.get(PRUNED) and plan.status is not None and not seen:
            words = f"{', '.join(job[PRUNED])}: no such field, and the server dropped it: correct its name or remove it"
            self._record(job, Notice("Warning", Reason.UNKNOWN_FIELD, words))

    async def _carry_out(self, job: Object, plan: Plan) -> float | None:
        wait = None
        if plan.persist_first and plan.status is not None:
            job = await self._persist(job, plan.status, plan.notices)
        await self._delete(job, plan.deletes)
        await abreast(self._patch(job, patch) for patch in plan.patches)
        await self._write(job, plan.writes)
        if not plan.persist_first and plan.status is not None:
            wait = self._postponed(job, plan.status)
            if wait is None:
                await self._persist(job, plan.status, plan.notices)
        return soonest(wait, plan.requeue_after, 0.0 if plan.persist_first else None)

    async def remake(self, job: Object, write: Write, old: Delete | None) -> None:
        """Make an object anew, in the place of one of ours that is no more as it was."""
        if old is not None:
            await self._delete_one(job, old)
        await self._write_one(job, write)

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._written.pop(uid, None)

    async def _outdated(self, job: Object, plan: Plan) -> bool:
        """Tell whether a lagging watch made us plan from what is not so any more; the cache knows better afterwards."""
        if plan.verify_job:
            newest = await self._kube.get(self._resource, namespace_of(job), name_of(job))
            if newest["metadata"]["resourceVersion"] != job["metadata"]["resourceVersion"]:
                self._cache.observe(self._resource, "MODIFIED", newest)
                return True
        return bool(plan.verify_absent) and await self._found(job, plan.verify_absent)

    async def _persist(self, job: Object, status: Mapping[str, Any], notices: tuple[Notice, ...]) -> Object:
        """Write the status, if it differs, and only then tell about it: an event for each look would never end."""
        written = await self._write_status(job, status)
        if written is not job:
            log_decisions(self._resource.kind, job, written, notices)
            for notice in notices:
                self._record(job, notice)
        return written

    def _postponed(self, job: Object, status: Mapping[str, Any]) -> float | None:
        patch = merge_patch(job.get("status") or {}, status)
        if not patch or not set(patch) <= self._soft:
            return None
        age = time.monotonic() - self._written.get(uid_of(job), -SOFT_SECONDS)
        return SOFT_SECONDS - age if age < SOFT_SECONDS else None

    async def _write_status(self, job: Object, status: Mapping[str, Any]) -> Object:
        patch = merge_patch(job.get("status") or {}, status)
        if not patch:
            return job
        version = job["metadata"].get("resourceVersion")
        try:
            written = await self._kube.patch_status(
                self._resource, namespace_of(job), name_of(job), patch, resource_version=version
            )
        except NotFound:
            # Deleted meanwhile: its children go with it, and there is nobody to tell.
            raise Transient(Reason.PENDING, "the job was deleted while it was worked on") from None
        self._written[uid_of(job)] = time.monotonic()
        # We know what we wrote; but others may wait for the end of this job, or for what it was promised.
        told = read_run(written.get("status") or {}).finished or "refusals" in (patch.get("backoff") or {})
        self._cache[self._resource].put(written, quiet=not told)
        return written

    async def _found(self, job: Object, names: tuple[str, ...]) -> bool:
        """Tell whether a pod that the cache misses is there: a lagging watch must not restart a healthy gang.

        No other attempt begins beside one that has left the gang and has not ended.
        """
        left: list[str] = []
        for name in names:
            try:
                pod = await self._kube.get(PODS, namespace_of(job), name)
            except NotFound:
                continue
            if parent_of(pod) == identity_of(job, self._resource):
                self._cache[PODS].put(pod)
                # As the cache keeps it: what lost our label is nobody's child there.
                kept = self._cache[PODS].get(namespace_of(job), name)
                if kept is not None and uid_of(kept) == uid_of(pod) and is_member(kept, job, self._resource):
                    return True
            elif not was_ours(self._cache[PODS], job, pod):
                continue
            # Somebody took our labels or its owner off it, so no watch tells of it again: it can't stay in the gang.
            if not pod["metadata"].get("deletionTimestamp"):
                await self._delete_one(job, Delete(PODS, name, uid_of(pod)))
            if (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                left.append(name)
        if left:
            raise Transient(Reason.PODS_PENDING, f"waiting for {left[0]} to go: somebody changed its labels or owner")
        return False

    async def _delete(self, job: Object, deletes: tuple[Delete, ...]) -> None:
        await abreast(self._delete_one(job, delete) for delete in deletes)

    async def _delete_one(self, job: Object, delete: Delete) -> None:
        store = self._cache.get(delete.resource)
        known = store.get(namespace_of(job), delete.name) if store is not None else None
        if delete.unseen and not (delete := await self._seen(job, delete)).uid:
            return
        try:
            place, grace = (delete.resource, namespace_of(job), delete.name), 0 if delete.force else None
            answer = await self._kube.delete(*place, uid=delete.uid or None, grace_seconds=grace)
        except NotFound:
            answer = {"kind": "Status", "metadata": {}}
        except Conflict:
            # Another object has the name by now: the one to delete is gone, and its event is on the way.
            return
        if store is not None and known is not None and uid_of(known) == delete.uid:
            store.put_deleted(known, answer, format_time(datetime.now(UTC)))

    async def _seen(self, job: Object, delete: Delete) -> Delete:
        """The same of the very object that is there, if it is ours; without a UID if it is not."""
        with contextlib.suppress(NotFound):
            there = await self._kube.get(delete.resource, namespace_of(job), delete.name)
            if parent_of(there) == identity_of(job, self._resource):
                return Delete(delete.resource, delete.name, uid_of(there))
        return Delete(delete.resource, delete.name, "")

    async def _patch(self, job: Object, patch: Patch) -> None:
        body = {**patch.body, "metadata": {**patch.body.get("metadata", {}), "uid": patch.uid}}
        try:
            answer = await self._kube.patch(patch.resource, namespace_of(job), patch.name, body)
        except (NotFound, Conflict):
            # Gone, or another object has the name by now: its event is on the way.
            return
        self._keep(patch.resource, answer)

    async def _write(self, job: Object, writes: tuple[Write, ...]) -> None:
        """Write the objects: what pods lean on goes before them."""
        pods = [write for write in writes if write.resource is PODS]
        await abreast(self._write_one(job, write) for write in writes if write.resource is not PODS)
        await abreast(self._write_one(job, write) for write in pods[:FIRST_PODS])
        await abreast(self._write_one(job, write) for write in pods[FIRST_PODS:])

    async def _write_one(self, job: Object, write: Write) -> None:
        try:
            await (self._bring_up_to_date(job, write) if write.replace else self._create(job, write))
        except ApiError as error:
            what, words = f"{write.resource.kind} {name_of(write.manifest)}", refused_in_words(error)
            if words is not None:
                self._lanes.refused(namespace_of(job))
                raise Transient(Reason.CREATE_REFUSED, f"{what}: {words}") from error
            if isinstance(error, Invalid):
                raise Terminal(Reason.INVALID_SPEC, f"{what}: {error.message}") from error
            raise

    async def _create(self, job: Object, write: Write) -> None:
        """Create an object. AlreadyExists is success if ours, made before a crash; a foreign one is left alone."""
        if write.drawn:
            return await self._create_drawn(write)
        try:
            # Nobody else can have touched what did not exist: this is no news for the job.
            made = await self._kube.create(write.resource, write.manifest)
            return self._keep(write.resource, made, quiet=not write.news)
        except AlreadyExists:
            there = await self._ours(job, write)
        if there is None:
            raise Transient(Reason.PENDING, "an object went away while it was looked at") from None
        # A pod says in its name what it is; anything else may be of a spec that was edited since.
        up_to_date = there if write.resource is PODS else await self._kube.apply(write.resource, write.manifest)
        return self._keep(write.resource, up_to_date)

    async def _create_drawn(self, write: Write) -> None:
        """Create a Secret with random keys, each made only once.

        Pods of an earlier attempt, or those that a crash left behind, have it already.
        """
        drawn = {key: secrets.token_hex(32) for key in write.drawn}
        with contextlib.suppress(AlreadyExists):
            await self._kube.create(write.resource, {**write.manifest, "stringData": drawn})

    async def _bring_up_to_date(self, job: Object, write: Write) -> None:
        """Apply an object over one of ours, or create it where there is none.

        Server-side apply would take over a stranger's object of this name: so look whose it is before.
        """
        if await self._ours(job, write) is None:
            return await self._create(job, write)
        return self._keep(write.resource, await self._kube.apply(write.resource, write.manifest))

    def _keep(self, resource: Resource, answer: Object, *, quiet: bool = False) -> None:
        store = self._cache.get(resource)
        if store is not None:
            store.put(answer, quiet=quiet)

    async def _ours(self, job: Object, write: Write) -> Object | None:
        """Our object under the name of the one to write, None if there is none. Raises Transient if it is not ours."""
        try:
            there = await self._kube.get(write.resource, namespace_of(job), name_of(write.manifest))
        except NotFound:
            return None
        name = f"{write.resource.kind} {name_of(there)}"
        owner, mine = parent_of(there), identity_of(job, self._resource)
        if owner != mine:
            called = (controller_of(there) or {}).get("name")
            if owner is not None and owner._replace(uid=mine.uid) == mine and called == name_of(job):
                raise Transient(Reason.PODS_PENDING, f"waiting for {name} of a deleted job of the same name to go")
            message = f"{name} is there already and belongs to somebody else: delete or rename it"
            raise Transient(Reason.NAME_CONFLICT, message)
        if there["metadata"].get("deletionTimestamp"):
            raise Transient(Reason.PODS_PENDING, f"waiting for {name}, which somebody deleted, to go")
        if write.resource is PODS and not is_member(there, job, self._resource):
            await self._delete_one(job, Delete(PODS, name_of(there), uid_of(there)))
            raise Transient(Reason.PODS_PENDING, f"waiting for {name}, whose labels somebody changed, to go")
        return there

    async def _delete_job(self, job: Object) -> None:
        with contextlib.suppress(NotFound, Conflict):
            await self._kube.delete(self._resource, namespace_of(job), name_of(job), uid=uid_of(job))

    async def report(self, job: Object, status: Mapping[str, Any], notices: tuple[Notice, ...] = ()) -> None:
        """Write a status that tells of an error; a lost race is no error of the job's."""
        with contextlib.suppress(Conflict):
            await self._persist(job, status, notices)
