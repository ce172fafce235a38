"""Leader election on a coordination.k8s.io Lease, so that two replicas never write at once. Used by main.

Times are 15/10/2 s as in Kubernetes' own controllers: a candidate takes over when it has seen no renewal for 15 s; a
leader that has not renewed for 10 s stops writing; it tries every 2 s. Safety rests on one inequality, 10 < 15,
measured on each process's own monotonic clock: no time written by another machine is ever compared.

- the leader counts its 10 s from before it SENT the renewal, a candidate its 15 s from after it RECEIVED the record;
- every write names the resourceVersion that it read, so that a delayed or repeated one fails instead of overwriting;
- `seconds_left` is a pure look at the clock: it says 0 in time even if the loop or the network is stuck, and
  `Kube(gate=lease.seconds_left)` refuses writes by it. Clocks may run up to a third faster or slower than each other.

The lease needs a `Kube` of its own, without a gate, so that renewals never wait behind other requests.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.runtime.client.errors import AlreadyExists, ApiError, Conflict, NotFound
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import LEASES, Object
from slipway.runtime.conditions import format_micro_time

log = logging.getLogger(__name__)

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of the lease in seconds; see the module's docstring."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError("retry < renew_deadline < duration is what makes the lease safe")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Clocks, sleep and random numbers of this machine, which a simulation replaces."""

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: Callable[[], float] = random.random


def make_identity(host: str) -> str:
    """A name that no other process and no earlier run of this one has: holding the lease is not inherited."""
    return f"{host}_{uuid.uuid4()}"


class Lease:
    """One candidate: `await acquire()`, then `await hold()` beside the work; `hold` returns when the lease is lost."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        *,
        times: Times = Times(),
        here: Surroundings = Surroundings(),
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._times = times
        self._here = here
        self._record: Object | None = None  # as last read from, or acknowledged by, the server
        self._deleted = False  # the record was there and is not any more
        self._current = False  # nothing suggests that the server has a newer record
        self._changed_at = here.clock()  # our clock, when we first saw this version of the record
        self._ours_until = NEVER
        self._released = False
        self._one_at_a_time = asyncio.Lock()  # a renewal under way must not cross the release

    def seconds_left(self) -> float:
        """Seconds for which we may still write; <= 0 means not at all."""
        return self._ours_until - self._here.clock()

    def leading(self) -> bool:
        """Tell whether we may write now."""
        return self.seconds_left() > 0

    @property
    def holder(self) -> str:
        """The holder's identity as last seen; "" if nobody holds it."""
        spec = (self._record or {}).get("spec") or {}
        return str(spec.get("holderIdentity") or "")

    async def acquire(self) -> None:
        """Wait until we lead. Errors of the API server are logged and waited out."""
        told = None
        while True:
            await self._attempt(self._times.renew_deadline / 2)
            if self.leading():
                log.info("leading as %s", self.identity)
                return
            if self.holder != told:
                told = self.holder
                log.info("standing by, the leader is %s", told or "not known")
            # Jitter keeps candidates from meeting at the same moment again and again.
            await self._here.sleep(self._times.retry * (1.0 + 0.2 * self._here.rng()))

    async def hold(self) -> None:
        """Renew until the lease is lost, then return: the process has to end, for it can't know what it missed.

        After a release it does not return; cancel it.
        """
        while self.leading():
            await self._here.sleep(max(0.0, min(self._times.retry, self.seconds_left())))
            # Half the deadline for one try leaves time for a second one on a fresh connection.
            await self._attempt(max(0.0, min(self._times.renew_deadline / 2, self.seconds_left())))
        if self._released:
            await asyncio.Event().wait()
        log.error("lease lost, the leader is %s", self.holder or "not known")

    async def release(self) -> None:
        """Hand the lease over at once, for good; stop writing before. From here on `leading` is false."""
        was_leading = self.leading()
        self._released = True
        self._ours_until = NEVER
        if not was_leading or self._record is None:
            return
        given_up = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
        try:
            async with asyncio.timeout(self._times.retry), self._one_at_a_time:
                await self._kube.replace(LEASES, self._record | {"spec": self._record["spec"] | given_up})
        except (ApiError, TimeoutError) as error:
            log.warning("lease not released, the next leader waits for it to expire: %s", error)

    async def _attempt(self, limit: float) -> None:
        """One try, of `limit` seconds, to get or keep the lease. A leader renews blindly, a candidate looks first."""
        try:
            async with asyncio.timeout(limit), self._one_at_a_time:
                if not self._current:
                    await self._look()
                if self._may_take():
                    await self._take()
            self._current = self.leading()
        except (ApiError, TimeoutError) as error:
            # A write of ours may or may not have taken effect: look before the next one.
            self._current = False
            expected = isinstance(error, Conflict | AlreadyExists)
            log.log(logging.DEBUG if expected else logging.WARNING, "lease %s: %r", self._name, error)

    async def _look(self) -> None:
        try:
            self._saw(await self._kube.get(LEASES, self._namespace, self._name))
        except NotFound:
            self._deleted = self._record is not None

    def _saw(self, record: Object) -> None:
        known = (self._record or {}).get("metadata", {}).get("resourceVersion")
        if record["metadata"].get("resourceVersion") != known:
            self._changed_at = self._here.clock()
        self._record = record
        self._deleted = False

    def _may_take(self) -> bool:
        """Tell whether nobody else can still believe to lead, judged by how long WE have seen no renewal."""
        if self._released:
            return False
        if self._record is None or self.holder in ("", self.identity):
            return True
        # A record deleted under a live leader is no reason to hurry: that leader goes on for its 10 s.
        promised = float(self._record["spec"].get("leaseDurationSeconds") or 0)
        return self._here.clock() - self._changed_at > max(promised, self._times.duration)

    async def _take(self) -> None:
        started = self._here.clock()
        spec = (self._record or {}).get("spec") or {}
        if self.holder != self.identity:
            spec = spec | {
                "holderIdentity": self.identity,
                "acquireTime": self._stamp(),
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if self._record is None else 1),
            }
        spec = spec | {"leaseDurationSeconds": round(self._times.duration), "renewTime": self._stamp()}
        if self._record is None or self._deleted:
            metadata = {"namespace": self._namespace, "name": self._name}
            written = await self._kube.create(LEASES, _lease(metadata, spec))
        else:
            written = await self._kube.replace(LEASES, _lease(self._record["metadata"], spec))
        self._saw(written)
        if not self._released:
            self._ours_until = started + self._times.renew_deadline

    def _stamp(self) -> str:
        return format_micro_time(self._here.now())


def _lease(metadata: Object, spec: Object) -> Object:
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
