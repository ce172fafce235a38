"""Metrics for Prometheus: plain counters on the event loop, turned into families only when scraped.

prometheus_client's own counters take a lock and walk buckets in Python for each observation; here a request pays for
one bisection and a few additions.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from workloads.serve.telemetry.output_distribution import Sketch

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Half octaves from 0.1 ms to 13 s: fine enough to compare the 99th percentiles of two revisions.
REQUEST_SECONDS = tuple(round(0.0001 * 2 ** (step / 2), 7) for step in range(35))
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """Counts per bucket; `bounds` are upper limits, inclusive."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def family(self, name: str, words: str) -> HistogramMetricFamily:
        """Metric family for Prometheus, with cumulative buckets."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(name, words, buckets=buckets, sum_value=self.sum)


class Metrics:
    """The batcher's Watch, the servers' observer, and Prometheus' collector. `gauges` are read when scraped."""

    def __init__(self) -> None:
        self.queue = Histogram(SECONDS)
        self.request = Histogram(REQUEST_SECONDS)
        self.engine = Histogram(SECONDS)
        self.batch = Histogram(ROWS)
        self.replies: Counter[tuple[str, str]] = Counter()
        self.ends: Counter[str] = Counter()
        self.inferences: Counter[tuple[str, str]] = Counter()
        self.copies: Counter[str] = Counter()
        self.transforms: Counter[tuple[str, str]] = Counter()
        self.transform_seconds: dict[str, Histogram] = {}
        self.rows = 0
        # Requests that engines have computed, the seconds of their batches, each request's for itself, and when.
        self.computed, self.compute, self.last = 0, 0.0, 0.0
        self.engine_busy = 0.0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        # Of the model's outputs, once it is loaded.
        self.sketch: Sketch | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def add(self, collector: Collector) -> None:
        """Show another collector's figures beside these."""
        self._registry.register(collector)

    def queued(self, seconds: float) -> None:
        """A request left the queue."""
        self.queue.observe(seconds)

    def ran(self, rows: int, requests: int, seconds: float) -> None:
        """An engine ran a batch."""
        self.batch.observe(rows)
        self.engine.observe(seconds)
        self.engine_busy += seconds
        self.rows += rows
        self.computed += requests
        self.compute += seconds * requests
        self.last = time.time()

    def answered(self, seconds: float) -> None:
        """A request got its result."""
        self.request.observe(seconds)

    def ended(self, reason: str) -> None:
        """A request ended without a result."""
        self.ends[reason] += 1

    def inferred(self, route: str, outcome: str) -> None:
        """An inference ended, one way or another; `route` is one of infer, predict, grpc."""
        self.inferences[route, outcome] += 1

    def transformed(self, step: str, outcome: str, seconds: float) -> None:
        """A call of own code ended, waiting for a worker included; `step` is preprocess or postprocess."""
        self.transforms[step, outcome] += 1
        self.transform_seconds.setdefault(step, Histogram(SECONDS)).observe(seconds)

    def http_replied(self, status: int) -> None:
        """An HTTP reply."""
        self.replies["http", str(status)] += 1

    def grpc_replied(self, code: str) -> None:
        """A gRPC reply."""
        self.replies["grpc", code] += 1

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's hook."""
        replies = CounterMetricFamily("slipway_replies", "Replies by protocol and status.", labels=["protocol", "code"])
        for (protocol, code), count in sorted(self.replies.items()):
            replies.add_metric([protocol, code], count)
        yield replies
        words = "Inferences by how they came and how they ended; other requests are none."
        inferences = CounterMetricFamily("slipway_inferences", words, labels=["route", "outcome"])
        for (route, outcome), count in sorted(self.inferences.items()):
            inferences.add_metric([route, outcome], count)
        yield inferences
        rejected = CounterMetricFamily("slipway_rejected", "Requests that ended without a result.", labels=["reason"])
        for reason, count in sorted(self.ends.items()):
            rejected.add_metric([reason], count)
        yield rejected
        copies = CounterMetricFamily("slipway_copies", "Copies of requests for another server.", labels=["outcome"])
        for outcome, count in sorted(self.copies.items()):
            copies.add_metric([outcome], count)
        yield copies
        yield from self._transforms()
        if self.sketch is not None:
            outputs = CounterMetricFamily("slipway_outputs", "Rows by output and bin.", labels=["output", "bin"])
            for kind, count in sorted(self.sketch.counts().items()):
                outputs.add_metric([self.sketch.output, kind], count)
            yield outputs
        yield CounterMetricFamily("slipway_rows", "Rows that engines have computed.", value=self.rows)
        yield CounterMetricFamily(
            "slipway_engine_busy_seconds", "Time that engines have worked.", value=self.engine_busy
        )
        yield self.queue.family("slipway_queue_seconds", "How long requests waited for an engine.")
        yield self.request.family("slipway_request_seconds", "How long a request was in the server until its result.")
        yield self.engine.family("slipway_engine_seconds", "How long an engine took for a batch.")
        yield self.batch.family("slipway_batch_rows", "Rows of a batch.")
        for name, (words, read) in self.gauges.items():
            yield GaugeMetricFamily(name, words, value=read())

    def _transforms(self) -> Iterator[Metric]:
        """Metrics of own code, where there is some."""
        if not self.transforms:
            return
        words = "Calls of own code by its step and how they ended."
        calls = CounterMetricFamily("slipway_transform_calls", words, labels=["step", "outcome"])
        for (step, outcome), count in sorted(self.transforms.items()):
            calls.add_metric([step, outcome], count)
        yield calls
        for step, seconds in self.transform_seconds.items():
            yield seconds.family(f"slipway_{step}_seconds", f"How long {step} took, waiting for a worker included.")
