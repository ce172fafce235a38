"""A Lease, the ways to it, and processes that want it: all in virtual time, with every fault that a network has."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.runtime.client.errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable
from slipway.runtime.lease import Lease, Surroundings

OK = (0.01, 0.01, False)
"""The fate of a request: seconds on the way there, seconds on the way back, lost on the way back?"""


@dataclass
class LeaseServer:
    """One Lease with the API server's rule: a write that names an old resourceVersion is refused."""

    record: dict[str, Any] | None = None
    version: int = 0
    writes: int = 0

    def handle(self, verb: str, obj: dict[str, Any] | None) -> dict[str, Any]:
        if verb == "get":
            if self.record is None:
                raise NotFound(404, "NotFound", "no lease")
            return copy.deepcopy(self.record)
        assert obj is not None
        if verb == "create" and self.record is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        if verb == "replace" and self.record is None:
            raise NotFound(404, "NotFound", "no lease")
        given_version = obj["metadata"].get("resourceVersion")
        if verb == "replace" and given_version != (self.record or {})["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        self.version += 1
        self.writes += 1
        self.record = copy.deepcopy(obj)
        self.record["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.record)


@dataclass
class Wire:
    """A candidate's way to the server. What is on the way arrives even if the sender has given up."""

    server: LeaseServer
    fates: Callable[[], tuple[float, float, bool]]
    flying: set[asyncio.Task[Any]] = field(default_factory=set)

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any]:
        return await self._send("get", None)

    async def create(self, resource: object, obj: dict[str, Any]) -> dict[str, Any]:
        return await self._send("create", obj)

    async def replace(self, resource: object, obj: dict[str, Any]) -> dict[str, Any]:
        return await self._send("replace", obj)

    async def _send(self, verb: str, obj: dict[str, Any] | None) -> dict[str, Any]:
        there, back, lost = self.fates()

        async def travel() -> dict[str, Any] | ApiError:
            await asyncio.sleep(there)
            try:
                answer: dict[str, Any] | ApiError = self.server.handle(verb, copy.deepcopy(obj))
            except ApiError as error:
                answer = error
            await asyncio.sleep(back)
            return answer

        task = asyncio.get_running_loop().create_task(travel())
        self.flying.add(task)
        task.add_done_callback(self.flying.discard)
        answer = await asyncio.shield(task)
        if lost:
            raise Unavailable(0, "NetworkError", "connection reset")
        if isinstance(answer, ApiError):
            raise answer
        return answer


@dataclass
class Process:
    """One operator process: its clock starts anywhere and runs at its own rate; its wall clock may be far off."""

    name: str
    wire: Wire
    offset: float
    rate: float
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    lost: bool = False

    def __post_init__(self) -> None:
        here = Surroundings(clock=self.clock, now=self.wall, sleep=self.sleep, rng=lambda: 0.5)
        self.lease = Lease(self.wire, "ns", "lease", self.name, here=here)  # type: ignore[arg-type]

    def clock(self) -> float:
        return self.offset + asyncio.get_running_loop().time() * self.rate

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.offset)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)

    def start(self) -> None:
        self.tasks = [asyncio.get_running_loop().create_task(self._run())]

    async def _run(self) -> None:
        await self.lease.acquire()
        await self.lease.hold()
        self.lost = True

    def kill(self) -> None:
        """As SIGKILL: nothing is released, and what is on the wire stays on it."""
        for task in self.tasks:
            task.cancel()
        self.lease._ours_until = float("-inf")  # a dead process writes nothing
