"""Metrics of the operator in one registry of our own; scraped through `server`, fed by everything else.

The parts of runtime know nothing of Prometheus: they take plain callbacks, which are methods here.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from slipway.runtime.connections.limits import Reason
from slipway.runtime.queue import WorkQueue

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

CountJobs = Callable[[], Mapping[str, Mapping[str, int]]]
"""Namespace -> condition type -> number of jobs in which it is true, counted from the cache at the scrape."""

MOST_NAMESPACES = 200
"""Namespaces with series of their own, those with the most resources first; all others are one, named "other"."""


class Metrics:
    """All metrics of one process; every name starts with `slipway_`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._reconcile = Histogram(
            "slipway_reconcile_duration_seconds",
            "Time of one reconcile.",
            ("kind", "result"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait = Histogram(
            "slipway_workqueue_wait_seconds",
            "Time a key waits in the queue before it is worked.",
            ("kind",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "slipway_api_requests_total",
            "Requests to the API server, each try counted, by verb and HTTP code (or why there was none).",
            ("verb", "code"),
            registry=registry,
        )
        self._request = Histogram(
            "slipway_api_request_duration_seconds",
            "Time of one request to the API server.",
            ("verb",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._events_dropped = Counter(
            "slipway_events_dropped_total", "Kubernetes Events that were not written.", ("reason",), registry=registry
        )
        self._progress = Counter(
            "slipway_progress_posts_total", "Progress posts of pods, by HTTP code.", ("code",), registry=registry
        )
        self._cut = Counter(
            "slipway_connections_cut_off_total",
            "Connections to a port of ours that were refused or ended by a limit, by port and limit.",
            ("port", "limit"),
            registry=registry,
        )
        self._leader = Gauge("slipway_is_leader", "1 if this process holds the lease.", registry=registry)
        self._lag = Gauge("slipway_event_loop_lag_seconds", "How late a timer fired last.", registry=registry)
        self._live = _Live()
        registry.register(self._live)

    def observe_reconcile(self, kind: str, result: str, seconds: float) -> None:
        """Record the seconds of a reconcile by result; for `Controller(observe=...)`."""
        self._reconcile.labels(kind, result).observe(seconds)

    def observe_request(self, verb: str, code: str, seconds: float) -> None:
        """Count a request to the API server and record its seconds; for `Kube(observe_request=...)`."""
        self._requests.labels(verb, code).inc()
        self._request.labels(verb).observe(seconds)

    def wait_observer(self, kind: str) -> Callable[[float], None]:
        """Callback that records the seconds a key has waited; for `WorkQueue(observe_wait=...)`."""
        return self._wait.labels(kind).observe

    def count_dropped_event(self, reason: str) -> None:
        """Count an Event that was not written; for `EventRecorder(dropped=...)`."""
        self._events_dropped.labels(reason).inc()

    def count_progress(self, code: int) -> None:
        """Count an answer to a progress report by status code; for `ProgressServer(observe=...)`."""
        self._progress.labels(str(code)).inc()

    def cut_off_counter(self, port: str) -> Callable[[str], None]:
        """Callback that counts connections refused or cut off at a port; for `listening(ended=...)`."""
        children = {limit: self._cut.labels(port, limit) for limit in Reason}
        return lambda limit: children[Reason(limit)].inc()

    def observe_loop_lag(self, seconds: float) -> None:
        """Show how many seconds late the event loop is; for `Health(observe_lag=...)`."""
        self._lag.set(seconds)

    def watch_leading(self, leading: Callable[[], bool]) -> None:
        """Show whether we lead, asked at each scrape."""
        self._leader.set_function(lambda: 1.0 if leading() else 0.0)

    def watch_queue(self, kind: str, queue: WorkQueue[Any]) -> None:
        """Show a queue's depth, delayed keys, adds and retries."""
        self._live.queues[kind] = queue

    def watch_jobs(self, kind: str, count: CountJobs) -> None:
        """Show how many objects of a kind have which condition, in all and by namespace; "total" counts all of them."""
        self._live.jobs[kind] = count

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class _Live(Collector):
    """Figures that are looked up when asked for, so that keeping them costs nothing."""

    def __init__(self) -> None:
        self.queues: dict[str, WorkQueue[Any]] = {}
        self.jobs: dict[str, CountJobs] = {}

    def collect(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("slipway_workqueue_depth", "Keys that need work now.", labels=["kind"])
        delayed = GaugeMetricFamily("slipway_workqueue_delayed", "Keys with work due later.", labels=["kind"])
        adds = CounterMetricFamily("slipway_workqueue_adds", "Marks that made a key need work.", labels=["kind"])
        retries = CounterMetricFamily("slipway_workqueue_retries", "Keys that failed and back off.", labels=["kind"])
        for kind, queue in self.queues.items():
            depth.add_metric([kind], queue.depth)
            delayed.add_metric([kind], queue.delayed)
            adds.add_metric([kind], queue.adds)
            retries.add_metric([kind], queue.retries)
        return (depth, delayed, adds, retries, *self._counts())

    def _counts(self) -> tuple[Metric, Metric]:
        marks = ["kind", "condition"]
        jobs = GaugeMetricFamily("slipway_jobs", "Objects by kind and true condition.", labels=marks)
        theirs = GaugeMetricFamily(
            "slipway_namespace_jobs", "The same by namespace, for the fullest ones.", labels=[*marks, "namespace"]
        )
        for kind, count in self.jobs.items():
            found = count()
            for condition, number in total(found.values()).items():
                jobs.add_metric([kind, condition], number)
            for namespace, numbers in fullest(found).items():
                for condition, number in numbers.items():
                    theirs.add_metric([kind, condition, namespace], number)
        return jobs, theirs


def count_conditions(objects: Iterable[Mapping[str, Any]]) -> Mapping[str, Mapping[str, int]]:
    """Counts of objects by namespace and true condition, and of all of them under "total"; for `watch_jobs`.

    What alerts subtract is there as 0, too: in PromQL a difference with nothing is nothing.
    """
    tallies: defaultdict[str, Tally[str]] = defaultdict(lambda: Tally(total=0, Stalled=0, Failed=0))
    for obj in objects:
        tally = tallies[obj["metadata"].get("namespace", "")]
        tally["total"] += 1
        for condition in (obj.get("status") or {}).get("conditions") or ():
            if condition.get("status") == "True":
                tally[condition["type"]] += 1
    return tallies


def total(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    """Sum of counts by condition; "total", "Stalled" and "Failed" are always among them."""
    found: Tally[str] = Tally(total=0, Stalled=0, Failed=0)
    for each in counts:
        found.update(each)
    return found


def fullest(counts: Mapping[str, Mapping[str, int]], most: int = MOST_NAMESPACES) -> Mapping[str, Mapping[str, int]]:
    """Counts of the `most` namespaces with the most objects, and the sum of the others as "other", if there are any.

    Whoever may make namespaces could otherwise make the scrape as large as he likes.
    """
    ordered = sorted(counts, key=lambda namespace: (-counts[namespace]["total"], namespace))
    kept = {namespace: counts[namespace] for namespace in ordered[:most]}
    rest = ordered[most:]
    return {**kept, "other": total(counts[namespace] for namespace in rest)} if rest else kept
