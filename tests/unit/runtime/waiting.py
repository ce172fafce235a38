"""Wait for a condition of the code under test, with a limit instead of a fixed sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (the code under test has no event to wait for)
            await asyncio.sleep(0.001)
