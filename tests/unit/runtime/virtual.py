"""An event loop whose time is a number: it jumps to the next timer when nothing is ready, so hours cost nothing."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """`before_time_passes` is called each time everything that can run now has run."""

    def __init__(self, before_time_passes: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        super().__init__(_JumpingSelector(self, before_time_passes))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop, before_time_passes: Callable[[], None]) -> None:
        super().__init__()
        self._loop = loop
        self._before_time_passes = before_time_passes

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("everything waits, and for nothing")
        self._before_time_passes()
        self._loop.now += timeout
        return ready


def run_virtually(main: Coroutine[Any, Any, None], before_time_passes: Callable[[], None] = lambda: None) -> None:
    loop = VirtualLoop(before_time_passes)
    try:
        loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
