"""Dynamic batcher: collects while the engines are busy, runs at once when one is idle, isolates what fails.

Runs on one event loop and takes no lock. Called by the protocols with validated requests only.
"""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from workloads.serve.batcher.batch_execution import BatchRun, EngineInstance
from workloads.serve.batcher.observer import BatchObserver, NullObserver
from workloads.serve.batcher.queue import RequestQueue
from workloads.serve.batcher.ticket import Ticket
from workloads.serve.errors import ClientDeadline, DeadlineExceeded, EngineFailed, Invalid, NotReady, QueueFull

T = TypeVar("T")
R = TypeVar("R")

LONGEST_RETRY = 60
RATE_MEMORY = 0.8  # weight of the past in the moving average of rows per second


@dataclass(frozen=True)
class Limits:
    """Bounds. Rows: a request of shape [4, ...] has four. Times in seconds, sizes in bytes."""

    max_batch_size: int = 32
    max_queue_size: int = 256
    max_queue_bytes: int = 256 << 20
    max_queue_delay: float = 0.0
    default_timeout: float = 10.0
    priority_levels: int = 1
    priority_step: float = 1.0
    bisect: bool = True


class Batcher(Generic[T, R]):
    """`submit` and `abandon` from the event loop; the answer is in the ticket."""

    def __init__(
        self,
        lanes: Sequence[EngineInstance[T, R]],
        limits: Limits,
        watch: BatchObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` in seconds; a loop's own time may be no finer than a millisecond."""
        self.limits = limits
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._watch: BatchObserver = watch or NullObserver()
        self._idle = list(lanes)
        self._lanes = len(self._idle)
        self._line: RequestQueue[T, R] = RequestQueue(limits.priority_levels, limits.priority_step)
        # Rows of the next batch. Halved by a failure and doubled by a success: a client that sends poison then costs
        # the others few repeated runs, because the best batch to search for k culprits is a small one.
        self._cap = limits.max_batch_size
        self._number = 0
        self._running = 0
        self._woken = False
        self._patience: asyncio.TimerHandle | None = None
        self._closed = False
        self._rows_per_second = 0.0
        self._empty: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows in the queue."""
        return self._line.rows

    @property
    def rows(self) -> int:
        """Rows in the queue and in the engines."""
        return self._line.rows + self._running

    @property
    def busy(self) -> int:
        """Lanes that run a batch now."""
        return self._lanes - len(self._idle)

    def submit(
        self,
        payload: T,
        *,
        rows: int = 1,
        size: int = 0,
        group: Hashable = None,
        priority: int = 0,
        timeout: float = 0.0,
    ) -> Ticket[T, R]:
        """Queue a validated request of `rows` rows and `size` bytes; only requests of one `group` share a batch.

        `priority` 1 is the most urgent level, 0 the middle one; a `timeout` of 0 or above the default is the default.
        Raises QueueFull, NotReady after `close`, Invalid for rows or a priority that can never be served.
        """
        limits = self.limits
        if rows > limits.max_batch_size or rows < 1:
            raise Invalid(f"a request of {rows} rows: this model takes 1 to {limits.max_batch_size}")
        if not 0 <= priority <= limits.priority_levels:
            raise Invalid(f"priority {priority}: this server has levels 1 (first) to {limits.priority_levels}")
        if self._closed:
            self._watch.ended(NotReady.reason)
            raise NotReady("the server is ending")
        line = self._line
        if self._full(rows, size):
            self._dispatch()  # what only waits for the end of this turn is not in anybody's way
            if self._full(rows, size):
                self._watch.ended(QueueFull.reason)
                raise QueueFull(f"the queue is full: {line.rows} rows are waiting", self.retry_after())
        ticket: Ticket[T, R] = Ticket(payload, rows, size, group, self._loop.create_future())
        ticket.level = priority or (limits.priority_levels + 1) // 2
        self._number = ticket.number = self._number + 1
        ticket.arrived = self._clock()
        ticket.timeout = min(timeout, limits.default_timeout) if timeout > 0 else limits.default_timeout
        ticket.timer = self._loop.call_later(ticket.timeout, self._expire, ticket)
        line.add(ticket)
        if self._idle:
            self._wake()
        return ticket

    def _full(self, rows: int, size: int) -> bool:
        line, limits = self._line, self.limits
        return line.rows + rows > limits.max_queue_size or line.size + size > limits.max_queue_bytes

    async def answer(self, ticket: Ticket[T, R]) -> R:
        """Wait for the result. A cancelled waiter frees the request's place."""
        try:
            return await ticket.answer
        except asyncio.CancelledError:
            self.abandon(ticket)
            raise

    def abandon(self, ticket: Ticket[T, R]) -> None:
        """The client is gone: its place is free at once; what an engine already runs is thrown away when it returns."""
        if ticket.answer.done() and not ticket.waiting:
            return
        self._leave(ticket)
        ticket.drop()
        if ticket.counted:
            self._watch.ended("abandoned")

    def retry_after(self) -> int:
        """Whole seconds until the queue of now will have been worked off, at the pace of the last batches."""
        pace = self._rows_per_second * self._lanes
        return min(LONGEST_RETRY, max(1, math.ceil(self._line.rows / pace))) if pace else 1

    def close(self) -> None:
        """Take no more requests. Those that wait or run are still answered."""
        self._closed = True

    async def drained(self) -> None:
        """Returns when nothing waits and nothing runs."""
        while self._line.tickets or self.busy:
            if self._empty is None:
                self._empty = self._loop.create_future()
            await asyncio.shield(self._empty)

    def _wake(self) -> None:
        """Run what waits at the end of this turn of the loop, so that requests which arrived together run together."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._woken = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        while self._idle and (head := self._line.head()) is not None:
            if self.limits.max_queue_delay and self._line.rows < self._cap:
                patience = head.arrived + self.limits.max_queue_delay - self._clock()
                if patience > 0:
                    self._patience = self._loop.call_later(patience, self._dispatch)
                    return
            self._start(BatchRun(self._idle.pop(), [self._line.take(self._cap)]))
        if self._empty is not None and not self._line.tickets and not self.busy:
            self._empty.set_result(None)
            self._empty = None

    def _start(self, run: BatchRun[T, R]) -> None:
        """Run the next batch that somebody still waits for; what is left of `run` follows on the same lane."""
        now = self._clock()
        while run.work:
            batch = [ticket for ticket in run.work.pop() if not ticket.answer.done()]
            if not batch:
                run.paired = False
                continue
            rows = sum(ticket.rows for ticket in batch)
            for ticket in batch:
                if not ticket.batch_rows:
                    ticket.queue_seconds = now - ticket.arrived
                    self._watch.queued(ticket.queue_seconds)
                ticket.batch_rows = rows
            self._running += rows
            future = self._run(run.lane, batch)
            future.add_done_callback(partial(self._finished, run, batch, now))
            return
        self._idle.append(run.lane)
        self._wake()

    def _run(self, lane: EngineInstance[T, R], batch: list[Ticket[T, R]]) -> "asyncio.Future[Sequence[R]]":
        try:
            return lane.run([ticket.payload for ticket in batch])
        except Exception as error:  # a lane that cannot even start is a batch that failed
            future: asyncio.Future[Sequence[R]] = self._loop.create_future()
            future.set_exception(error)
            return future

    def _finished(
        self, run: BatchRun[T, R], batch: list[Ticket[T, R]], started: float, done: "asyncio.Future[Sequence[R]]"
    ) -> None:
        seconds, rows = self._clock() - started, batch[0].batch_rows
        self._running -= rows
        self._watch.ran(rows, len(batch), seconds)
        error = EngineFailed("the engine was cancelled") if done.cancelled() else done.exception()
        results: Sequence[R] = [] if error else done.result()
        if error is None and len(results) != len(batch):
            error = EngineFailed(f"the engine gave {len(results)} results for {len(batch)} requests")
        if error is None:
            self._learn(run, rows, seconds)
            # The engine works on while this thread writes the replies.
            self._go_on(run)
            self._answer(batch, results, seconds)
            return
        if len(batch) == 1 or isinstance(error, EngineFailed) or not self.limits.bisect:
            self._failed(batch, error)
            run.paired = False
        else:
            run.split(batch)
            self._cap = max(1, min(self._cap, rows) // 2)
        self._go_on(run)

    def _go_on(self, run: BatchRun[T, R]) -> None:
        """The lane has done a batch: what is left of `run`, or what waits, follows without a turn of the loop."""
        if run.work:
            self._start(run)
        else:
            self._idle.append(run.lane)
            self._dispatch()

    def _learn(self, run: BatchRun[T, R], rows: int, seconds: float) -> None:
        pace = rows / max(seconds, 1e-6)
        self._rows_per_second = pace + RATE_MEMORY * (self._rows_per_second - pace) if self._rows_per_second else pace
        run.cleared()
        if run.whole:
            self._cap = min(self.limits.max_batch_size, self._cap * 2)

    def _answer(self, batch: list[Ticket[T, R]], results: Sequence[R], seconds: float) -> None:
        now = self._clock()
        for ticket, result in zip(batch, results, strict=True):
            ticket.engine_seconds = seconds
            if not ticket.answer.done():
                self._watch.answered(now - ticket.arrived)
            ticket.resolve(result)

    def _failed(self, batch: list[Ticket[T, R]], error: BaseException) -> None:
        for ticket in batch:
            if not ticket.answer.done():
                self._watch.ended(getattr(error, "reason", EngineFailed.reason))
            ticket.fail(error)

    def _expire(self, ticket: Ticket[T, R]) -> None:
        ticket.timer = None
        if ticket.answer.done():
            return
        where = "in the queue" if ticket.waiting else "in the engine"
        self._leave(ticket)
        kind = ClientDeadline if ticket.timeout < self.limits.default_timeout else DeadlineExceeded
        ticket.fail(kind(f"the request's {ticket.timeout:g} s were over while it was {where}"))
        self._watch.ended(kind.reason)

    def _leave(self, ticket: Ticket[T, R]) -> None:
        if ticket.waiting:
            self._line.remove(ticket)
            if not self._line.tickets and self._empty is not None:
                self._wake()
