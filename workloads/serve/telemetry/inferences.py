"""Count of inferences by route and outcome: each exactly once, when its reply is made or its client is gone.

Used by app.py and the gRPC server. A canary's gate reads these figures: probes, pages and paths that are not there are
no inferences, and which of the others are the model's failures is said by `outcome_of` alone.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from workloads.serve.errors import Outcome, outcome_of
from workloads.serve.http import Pending, Reply
from workloads.serve.telemetry.metrics import Metrics


class CountedPending:
    """A pending inference whose end is counted."""

    __slots__ = ("_metrics", "_pending", "_route", "future")

    def __init__(self, pending: Pending, metrics: Metrics, route: str) -> None:
        self.future: asyncio.Future[Any] = pending.future
        self._pending = pending
        self._metrics = metrics
        self._route = route

    @property
    def waiting(self) -> bool:
        """True while nothing has been done for the request."""
        return bool(getattr(self._pending, "waiting", False))

    def finish(self) -> "Reply | CountedPending":
        """The reply that was promised."""
        try:
            reply = self._pending.finish()
        except BaseException as error:
            self._metrics.inferred(self._route, outcome_of(error))
            raise
        if not isinstance(reply, Reply):
            return CountedPending(reply, self._metrics, self._route)
        self._metrics.inferred(self._route, Outcome.ANSWERED)
        return reply

    def abandon(self) -> None:
        """Its client is gone."""
        self._metrics.inferred(self._route, Outcome.GONE)
        self._pending.abandon()


def begin(start: Callable[[], Pending], metrics: Metrics, route: str) -> CountedPending:
    """Start an inference by `start` and count its end; what `start` raises is an end as well."""
    try:
        pending = start()
    except BaseException as error:
        metrics.inferred(route, outcome_of(error))
        raise
    return CountedPending(pending, metrics, route)


@contextmanager
def counting(metrics: Metrics, route: str) -> Iterator[None]:
    """Count an inference that ends with the block."""
    try:
        yield
    except BaseException as error:
        metrics.inferred(route, outcome_of(error))
        raise
    metrics.inferred(route, Outcome.ANSWERED)
