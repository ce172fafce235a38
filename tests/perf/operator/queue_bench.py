"""Time of one decision about waiting gangs, by size of the cluster: `python -m tests.perf.operator.queue_bench`.

No server: events go into the operator's own cache, and what is timed is what its event loop spends on one of them, from
the event to the end of the decision that it causes. All nodes are full of running gangs of four pods; then, one after
the other, a pod ends, a pod of a gang that was let in gets its node, a stranger's pod comes, and a gang is created.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slipway.queueing.quota import slim_limits, slim_quota
from slipway.queueing.resources import slim_footprint, slim_node, slim_priority
from slipway.runtime.caching.cache import Cache
from slipway.runtime.client.resource import LIMIT_RANGES, NODES, PODS, PRIORITY_CLASSES, QUOTAS, Resource
from slipway.trainingjob.job import TRAINING_JOBS
from slipway.trainingjob.queueing.admission import Admission
from tests.perf import machine

RESULTS = Path(__file__).parents[1] / "results" / "queue.json"
GPU = "nvidia.com/gpu"
BEGAN = "2026-01-01T00:00:00Z"
# Nodes and waiting gangs.
SIZES = ((500, 100), (1000, 200), (2000, 400), (5000, 1000))
NAMESPACES = 20
API = "slipway.dev/v1alpha1"


class Cluster:
    """Full of running gangs, with others that wait."""

    def __init__(self, nodes: int, gangs: int, shapes: int) -> None:
        self._versions = itertools.count(1)
        self._due: list[Callable[[], None]] = []
        self.cache = Cache(lambda *told: self.admission.changed(*told))  # noqa: PLW0108 (made later)
        slims = {PODS: slim_footprint, NODES: slim_node, QUOTAS: slim_quota, LIMIT_RANGES: slim_limits}
        for resource, slim in {**slims, PRIORITY_CLASSES: slim_priority}.items():
            self.cache.add(resource, slim=slim)
        self.cache.add(TRAINING_JOBS)
        self.admission = Admission(self.cache, lambda key, seconds: None, lambda seconds, do: self._due.append(do))
        self.nodes, self.shapes = nodes, shapes
        for number in range(nodes):
            status = {"allocatable": {GPU: "8", "cpu": f"{96 + number % 3}", "memory": "2000Gi", "pods": "110"}}
            status["conditions"] = [{"type": "Ready", "status": "True"}]  # type: ignore[assignment]
            marks = {"labels": {"kubernetes.io/hostname": f"node-{number}", "zone": f"z{number % 3}"}}
            self.tell(NODES, "", f"node-{number}", marks, spec={}, status=status)
        for number in range(nodes // 4):
            self._running(number)
        for number in range(gangs):
            self.wait(number)

    def tell(self, resource: Resource, namespace: str, name: str, marks: dict[str, Any], **rest: Any) -> None:
        where = {"namespace": namespace} if namespace else {}
        version = str(next(self._versions))
        identity = {"name": name, "uid": f"u-{namespace}-{name}", "resourceVersion": version, **where}
        self.cache.observe(resource, rest.pop("event", "MODIFIED"), {"metadata": {**identity, **marks}, **rest})

    def _running(self, number: int) -> None:
        namespace, name = f"team-{number % NAMESPACES}", f"runs-{number}"
        self.job(namespace, name, 4, 8, {"attemptTime": BEGAN, "startTime": BEGAN})
        for index in range(4):
            self.pod(namespace, name, index, f"node-{4 * number + index}")

    def job(self, namespace: str, name: str, nodes: int, gpus: int, status: Any, **pod: Any) -> None:
        trainer = {"command": ["x"], "resourcesPerNode": {"limits": {GPU: gpus, "cpu": f"{1 + len(pod)}"}}}
        marks = {"generation": 1, "creationTimestamp": BEGAN}
        self.tell(
            TRAINING_JOBS,
            namespace,
            name,
            marks,
            spec={"numNodes": nodes, "trainer": trainer, "pod": pod},
            status=status,
        )

    def pod(self, namespace: str, job: str, index: int, node: str, phase: str = "Running") -> None:
        uid = f"u-{namespace}-{job}"
        owner = {"apiVersion": API, "kind": "TrainingJob", "name": job, "uid": uid, "controller": True}
        labels = {"slipway.dev/managed": "true", "slipway.dev/attempt": "0", "slipway.dev/replica-index": str(index)}
        spec = {"nodeName": node, "containers": [{"name": "trainer", "resources": {"limits": {GPU: "8"}}}]}
        marks = {"labels": labels, "ownerReferences": [owner]}
        self.tell(PODS, namespace, f"{job}-node-{index}-a0", marks, spec=spec, status={"phase": phase})

    def wait(self, number: int) -> None:
        """A gang that asks for more than is free; one of so many kinds."""
        shape = number % self.shapes
        selector = {"nodeSelector": {"zone": f"z{shape % 3}"}} if shape % 2 else {}
        nodes = 2 + shape // 8
        self.job(f"team-{number % NAMESPACES}", f"waits-{number}", nodes, 1 + shape % 8, {}, **selector)

    def decide(self) -> float:
        """CPU milliseconds of the decision that is due."""
        began = time.process_time()
        while self._due:
            self._due.pop()()
        return 1000 * (time.process_time() - began)

    def timed(self, event: Callable[[], None]) -> float:
        """CPU milliseconds of an event and of the decision that it causes."""
        began = time.process_time()
        event()
        self.decide()
        return 1000 * (time.process_time() - began)


def one(nodes: int, gangs: int, shapes: int, rounds: int) -> dict[str, Any]:
    """One size."""
    load = machine.load()
    cluster = Cluster(nodes, gangs, shapes)
    first = cluster.timed(cluster.admission._decide)
    gc.collect()
    gc.freeze()
    found = sorted(cluster.timed(event) for event in events(cluster, gangs, rounds))
    asked = {"nodes": nodes, "pods": nodes, "waiting": gangs, "shapes": shapes, "load": load}
    told = {"p50": statistics.median(found), "p95": found[int(0.95 * len(found))], "max": found[-1], "first": first}
    return {**asked, "milliseconds": {key: round(value, 1) for key, value in told.items()}}


def events(cluster: Cluster, gangs: int, rounds: int) -> Iterator[Callable[[], None]]:
    for number in range(rounds):
        team, job, node = f"team-{number % NAMESPACES}", f"runs-{number}", f"node-{4 * number}"
        yield lambda: cluster.pod(team, job, 0, node, "Succeeded")  # noqa: B023
        yield lambda: cluster.tell(
            PODS,
            "other",
            f"stranger-{number}",  # noqa: B023
            {},
            spec={"nodeName": node, "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},  # noqa: B023
            status={"phase": "Running"},
        )
        yield lambda: cluster.wait(gangs + number)  # noqa: B023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of three events each")
    parser.add_argument("--shapes", type=int, nargs="*", default=[1, 160])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    about, results = machine.describe(), []
    for shapes in options.shapes:
        for nodes, gangs in SIZES:
            results.append(one(nodes, gangs, shapes, options.rounds))
            print(json.dumps(results[-1]), flush=True)
    options.results.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
