"""A reply that a coroutine works out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from workloads.serve.http import Reply


class TaskPending:
    """Reply that a coroutine works out, which begins at once."""

    def __init__(self, coroutine: Coroutine[Any, Any, Reply]) -> None:
        self.future: asyncio.Future[Reply] = asyncio.ensure_future(coroutine)

    def finish(self) -> Reply:
        """Result of the coroutine; raises what that raised."""
        return self.future.result()

    def abandon(self) -> None:
        """Cancel the coroutine; a request in the batcher leaves the queue."""
        self.future.cancel()
