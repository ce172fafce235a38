"""Requests of one plan side by side, so many at once as the client lets through."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

# So many requests of one plan are under way at once: as many as the client lets through.
AT_ONCE = 16


async def abreast(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all, then raise the first error: one refused pod must not cancel its siblings' requests half-way.

    Each begins in a turn of the loop of its own: what a large gang is made from is rendered pod by pod.
    """
    slots, turn = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

    async def begin(call: Coroutine[Any, Any, None]) -> None:
        async with slots:
            async with turn:
                await asyncio.sleep(0)
            await call

    results = await asyncio.gather(*(begin(call) for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
