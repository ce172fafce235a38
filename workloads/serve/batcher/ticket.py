"""One request's way through the batcher: what it carries, where it is, and the future that is answered exactly once."""

import asyncio
from collections.abc import Hashable
from typing import ClassVar, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Ticket(Generic[T, R]):
    """Made by `Batcher.submit`. Await `answer`; give it to `Batcher.abandon` when nobody waits any more."""

    counted: ClassVar[bool] = True  # by the batcher, when it is abandoned
    __slots__ = (
        "answer",
        "arrived",
        "batch_rows",
        "due",
        "engine_seconds",
        "group",
        "level",
        "number",
        "payload",
        "queue_seconds",
        "rows",
        "size",
        "timeout",
        "timer",
        "waiting",
    )

    def __init__(self, payload: T, rows: int, size: int, group: Hashable, answer: "asyncio.Future[R]") -> None:
        self.payload = payload
        self.rows = rows
        self.size = size
        self.group = group
        self.answer = answer
        self.level = 1
        self.number = 0
        self.arrived = 0.0
        self.due = 0.0  # when it would be served if every level were served in order of arrival
        self.timeout = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.waiting = False
        self.queue_seconds = 0.0
        self.engine_seconds = 0.0
        self.batch_rows = 0

    @property
    def timing(self) -> tuple[float, ...]:
        """Queue and compute, in seconds."""
        return self.queue_seconds, self.engine_seconds

    def resolve(self, result: R) -> None:
        """Give the result, unless the request has ended already."""
        self._stop_timer()
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Give the error, unless the request has ended already."""
        self._stop_timer()
        if not self.answer.done():
            self.answer.set_exception(error)

    def drop(self) -> None:
        """Nobody waits any more: no result, no error."""
        self._stop_timer()
        self.answer.cancel()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
