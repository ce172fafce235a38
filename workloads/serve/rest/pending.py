"""A reply that a coroutine works out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from workloads.serve.http import Reply


class TaskPending:
    """Begins at once."""

    def __init__(self, coroutine: Coroutine[Any, Any, Reply]) -> None:
        self.future: asyncio.Future[Reply] = asyncio.ensure_future(coroutine)

    def finish(self) -> Reply:
        """What the coroutine returned, or raised."""
        return self.future.result()

    def abandon(self) -> None:
        """Cancels it; a request in the batcher leaves the queue."""
        self.future.cancel()
