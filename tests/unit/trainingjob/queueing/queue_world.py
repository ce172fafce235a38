"""Nodes, pods and jobs as events tell of them to the admission, without a server and without time that passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from slipway.queueing.quota import slim_limits, slim_quota
from slipway.queueing.resources import slim_footprint, slim_node, slim_priority
from slipway.runtime.caching.cache import Cache, Change
from slipway.runtime.client.resource import LIMIT_RANGES, NODES, PODS, PRIORITY_CLASSES, QUOTAS, Resource
from slipway.trainingjob.job import TRAINING_JOBS
from slipway.trainingjob.queueing.admission import Admission

GPU = "nvidia.com/gpu"


class Cluster:
    """Nodes, pods and jobs as events would tell of them."""

    def __init__(self) -> None:
        self._woken: list[str] = []
        self.version = 0
        self.cache = Cache(self._changed)
        self.cache.add(TRAINING_JOBS)
        self.cache.add(PODS, slim=slim_footprint)
        self.cache.add(NODES, slim=slim_node)
        self.cache.add(QUOTAS, slim=slim_quota)
        self.cache.add(LIMIT_RANGES, slim=slim_limits)
        self.cache.add(PRIORITY_CLASSES, slim=slim_priority)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.restart()

    def restart(self) -> None:
        """Another operator sees the same objects."""
        self.due: list[Callable[[], None]] = []
        self.admission = Admission(
            self.cache,
            lambda key, seconds: self._woken.append(key.name),
            lambda seconds, call: self.due.append(call),
            lambda: self.now,
        )

    @property
    def woken(self) -> list[str]:
        """Jobs that were marked, once the decisions that are due are made."""
        self.settle()
        return self._woken

    def settle(self) -> None:
        """The decisions that are due are made."""
        while self.due:
            self.due.pop(0)()

    def _changed(self, resource: Resource, change: Change) -> None:
        self.admission.changed(resource, change)

    def tell(self, resource: Resource, name: str, event: str = "MODIFIED", **obj: Any) -> None:
        self.version += 1
        marks = obj.pop("metadata", {})
        identity = {"name": name, "namespace": "n", "uid": f"u-{name}", "resourceVersion": str(self.version)}
        if not resource.namespaced:
            del identity["namespace"]
        self.cache.observe(resource, event, {"metadata": {**identity, **marks}, **obj})

    def node(self, name: str, gpus: int = 4, ready: str = "True", **labels: str) -> None:
        status = {"allocatable": {GPU: str(gpus), "pods": "9"}, "conditions": [{"type": "Ready", "status": ready}]}
        self.tell(NODES, name, metadata={"labels": labels}, spec={}, status=status)

    def job(self, name: str, nodes: int, gpus: int = 4, status: Any = None, **spec: Any) -> None:
        trainer = {"command": ["x"], "resourcesPerNode": {"limits": {GPU: gpus}}}
        marks = {"generation": 1, "creationTimestamp": f"2026-01-01T00:00:{len(self.cache[TRAINING_JOBS]):02}Z"}
        known = self.cache[TRAINING_JOBS].get("n", name)
        if known is not None:
            marks["creationTimestamp"] = known["metadata"]["creationTimestamp"]
        self.tell(
            TRAINING_JOBS,
            name,
            metadata=marks,
            spec={"numNodes": nodes, "trainer": trainer, **spec},
            status=status or {},
        )

    def pod(
        self, name: str, node: str, gpus: int = 4, phase: str = "", job: str = "", index: int = 0, **more: Any
    ) -> None:
        """Running where it has a node; `more` goes into its metadata."""
        phase = phase or ("Running" if node else "Pending")
        owner = [
            {
                "apiVersion": "slipway.dev/v1alpha1",
                "kind": "TrainingJob",
                "name": job,
                "uid": f"u-{job}",
                "controller": True,
            }
        ]
        labels = {"slipway.dev/managed": "true", "slipway.dev/attempt": "0", "slipway.dev/replica-index": str(index)}
        spec = {"nodeName": node, "containers": [{"name": "c", "resources": {"limits": {GPU: str(gpus)}}}]}
        marks = {"labels": labels, "ownerReferences": owner} if job else {}
        self.tell(PODS, name, metadata=marks | more, spec=spec, status={"phase": phase})

    def held(self, name: str) -> str:
        self.settle()
        job = self.cache[TRAINING_JOBS].get("n", name)
        assert job is not None
        hold = self.admission.view(job).hold
        return f"{hold.position}/{hold.length} {hold.missing}" if hold else ""
