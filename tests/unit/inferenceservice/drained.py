"""A service among three nodes, of which some are drained: controllers, evictions, and an operator that forgets all."""

from typing import Any

from slipway.inferenceservice.service import BUDGETS, DEPLOYMENTS
from slipway.runtime import conditions
from tests.unit.inferenceservice.looks import NOW, deployed, look

# With the 60 s on top: what a replacement may take, in seconds.
STARTUP, PATIENCE = 100, 160
NODE_NAMES = ("a", "b", "c")


class Cluster:
    """A service among three nodes: controllers, evictions and an operator that remembers nothing."""

    def __init__(self, replicas: int = 1) -> None:
        self.spec: dict[str, Any] = {
            "predictor": {"model": {"uri": "pvc://m/a"}, "startupSeconds": STARTUP},
            "replicas": replicas,
        }
        self.status: dict[str, Any] = {}
        self.now = NOW
        self.cordoned: set[str] = set()
        self.sees_nodes = True
        # Whether new pods get a node, and those that have one get ready.
        self.room, self.healthy = True, True
        self.refused = ""
        self.pods: list[dict[str, Any]] = []
        self.made = 0
        self.budget: dict[str, Any] | None = None
        self.deployment: dict[str, Any] | None = None
        self.events: list[str] = []
        # Moments between two requests of a look at which the only pod that serves could have been evicted.
        self.gaps = 0
        self.settle()

    # The operator.

    def operate(self) -> None:
        obj = {
            "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 1},
            "spec": self.spec,
            "status": self.status,
        }
        there = [self.deployment] if self.deployment else []
        seen = {BUDGETS[0]: {"digits": self.budget} if self.budget else {}}
        nodes = frozenset(self.cordoned) if self.sees_nodes else None
        plan = look(obj, there, self.pods, now=self.now, beside=seen, leaving=nodes)
        self.status = plan.status or self.status
        self.events += [notice.reason for notice in plan.notices]
        for write in plan.writes:
            if write.resource is BUDGETS[0]:
                self.budget = write.manifest | {"metadata": write.manifest["metadata"] | {"uid": "b"}}
        if any(write.resource is DEPLOYMENTS for write in plan.writes):
            self.deployment = deployed(plan)
        for delete in plan.deletes:
            if delete.resource is BUDGETS[0]:
                assert self.budget is not None
                self.budget = None
        for patch in plan.patches:
            target = self.budget if patch.resource is BUDGETS[0] else self.deployment
            assert target is not None
            merge(target, patch.body)
            # Requests of one look go abreast: what is between two of them counts.
            self.gaps += self.serving() == 1 and self.allowed(next(filter(is_ready, self.pods)))

    # Kubernetes.

    def control(self) -> None:
        """As a ReplicaSet's controller and the scheduler: what is missing is made, what is too much goes."""
        assert self.deployment is not None
        wanted = self.deployment["spec"]["replicas"]
        while len(self.pods) < wanted and not self.refused:
            self.made += 1
            self.pods.append(pod(self.made, self.deployment))
        for _ in range(len(self.pods) - wanted):
            self.pods.remove(max(self.pods, key=lambda p: (not place(p), not is_ready(p), int(p["metadata"]["uid"]))))
        free = [name for name in NODE_NAMES if name not in self.cordoned]
        for each in self.pods:
            if not place(each) and self.room and free:
                each["spec"]["nodeName"] = free[0]
        ready = sum(map(is_ready, self.pods))
        status: dict[str, Any] = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": len(self.pods)}
        if self.refused:
            status["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": self.refused}]
        self.deployment["status"] = status

    def start(self) -> None:
        """Pods that have a node serve, where they can."""
        for each in self.pods:
            if place(each) and self.healthy and not is_ready(each):
                each["status"] = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [READY]}

    def evict(self, node: str) -> bool:
        """As `kubectl drain` asks for each pod of a node; whether none is left."""
        for each in [p for p in self.pods if place(p) == node]:
            if self.allowed(each):
                self.pods.remove(each)
        return not any(place(p) == node for p in self.pods)

    def allowed(self, each: dict[str, Any]) -> bool:
        """As the server decides by policy/v1."""
        if self.budget is None or each["status"].get("phase") == "Pending":
            return True
        assert self.deployment is not None
        healthy, spec = sum(map(is_ready, self.pods)), self.budget["spec"]
        assert ("minAvailable" in spec) != ("maxUnavailable" in spec)
        desired = spec.get("minAvailable", self.deployment["spec"]["replicas"] - spec.get("maxUnavailable", 0))
        return healthy > desired if is_ready(each) else healthy >= desired > 0

    def settle(self) -> None:
        for _ in range(6):
            self.operate()
            self.control()
            self.start()

    @property
    def told(self) -> dict[str, Any]:
        return conditions.get(self.status["conditions"], "ReplacementReady") or {}

    @property
    def replicas(self) -> int:
        assert self.deployment is not None
        return int(self.deployment["spec"]["replicas"])

    def serving(self) -> int:
        return sum(map(is_ready, self.pods))

    def first_node(self) -> str:
        return place(self.pods[0])


READY = {"type": "Ready", "status": "True"}


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def pod(number: int, deployment: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": f"digits-{number}", "uid": str(number), "labels": deployment["metadata"]["labels"]}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Pending"}}


def place(each: dict[str, Any]) -> str:
    return str(each["spec"].get("nodeName") or "")


def is_ready(each: dict[str, Any]) -> bool:
    return READY in (each["status"].get("conditions") or [])
