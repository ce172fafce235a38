"""Run one kind's reconcile over its queue: workers, time limits, retries, draining. Started by main, one per kind.

The reconcile gets a key and returns a Result, or raises:

- `Transient` or a retryable `ApiError` or any unknown exception: `on_error` is told, the key backs off and runs again;
- `Terminal`: `on_error` is told, and the key waits until somebody marks it;
- an `ApiError` that says the request itself is wrong (422, 400): as Transient, but at the slowest pace, because only a
  change of the resource, the server or this program can help.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from slipway.runtime.client.errors import ApiError, Terminal, Transient, retryable
from slipway.runtime.queue import MAX_BACKOFF, QueueClosed, WorkQueue

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A reconcile that ended well; `requeue_after` in seconds, None = nothing to do until the next mark."""

    requeue_after: float | None = None


DONE = Result()

Reconcile = Callable[[K], Awaitable[Result]]
OnError = Callable[[K, Exception], Awaitable[None]]
ObserveReconcile = Callable[[str, str, float], None]
"""Called with (controller's name, "success" | "requeue" | "transient" | "terminal", seconds)."""


class Controller(Generic[K]):
    """`run()` until `stop()`; both are called once."""

    def __init__(
        self,
        name: str,
        queue: WorkQueue[K],
        reconcile: Reconcile[K],
        *,
        workers: int = 8,
        timeout: float = 30.0,
        on_error: OnError[K] | None = None,
        observe: ObserveReconcile = lambda name, result, seconds: None,
    ) -> None:
        """`timeout` in seconds for one reconcile, and again for one `on_error`."""
        self.name = name
        self.queue = queue
        self._reconcile = reconcile
        self._workers = workers
        self._timeout = timeout
        self._on_error = on_error
        self._observe = observe
        self._complaints: dict[K, str] = {}
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Work until `stop`; raises only if a worker itself breaks, which ends the process (crash-only)."""
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._work(), name=f"{self.name}-{n}") for n in range(self._workers)]
        self._stopped.set()

    async def stop(self, grace: float = 20.0) -> None:
        """Take no new keys; let those in flight finish for `grace` seconds, then cancel them."""
        self.queue.shutdown()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            log.warning("reconcile did not finish in time", extra={"controller": self.name, "grace": grace})
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._one(key)
            finally:
                self.queue.done(key)

    async def _one(self, key: K) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout) as limit:
                result = await self._reconcile(key)
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                error = Transient("ReconcileTimeout", f"not done within {self._timeout:g} s")
            outcome = "terminal" if isinstance(error, Terminal) else "transient"
            self._observe(self.name, outcome, time.monotonic() - started)
            await self._failed(key, error)
            return
        self._observe(self.name, "success" if result.requeue_after is None else "requeue", time.monotonic() - started)
        self.queue.forget(key)
        self._complaints.pop(key, None)
        if result.requeue_after is not None:
            self.queue.mark_after(key, result.requeue_after)

    async def _failed(self, key: K, error: Exception) -> None:
        self._complain(key, error)
        if isinstance(error, Terminal):
            self.queue.forget(key)
        else:
            wish = error.retry_after if isinstance(error, Transient | ApiError) else None
            self.queue.backoff(key, (wish or 0.0) if retryable(error) else MAX_BACKOFF)
        if self._on_error is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._on_error(key, error)
        except Exception as second:
            log.warning("%s %s: failure not reported: %s", self.name, key, second)
            # Nobody has seen the reason yet, so even a Terminal one has to be found again.
            self.queue.backoff(key)

    def _complain(self, key: K, error: Exception) -> None:
        """Log a failure when it first appears or changes; its repetitions only at debug level."""
        complaint = f"{type(error).__name__}: {error}"
        level = logging.WARNING if isinstance(error, Transient | Terminal | ApiError) else logging.ERROR
        if self._complaints.get(key) == complaint:
            level = logging.DEBUG
        self._complaints[key] = complaint
        log.log(
            level,
            "%s %s: reconcile failed: %s",
            self.name,
            key,
            complaint,
            exc_info=error if level == logging.ERROR else None,
            extra={"controller": self.name, "key": str(key), "failures": self.queue.failures(key)},
        )
