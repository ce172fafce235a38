"""A service that may sleep, with an activator, pods and a Service that do at once what they are told; for zero."""

from datetime import timedelta
from typing import Any

from slipway.api.serving.inferenceservice import spec_problems
from slipway.inferenceservice.activator.activator import activator_name, decided_at, in_place, is_ready, unsettled
from slipway.inferenceservice.autoscale import size_of
from slipway.inferenceservice.plan import plan
from slipway.inferenceservice.policy.demand import ActivatorReply, demand_since
from slipway.inferenceservice.policy.scale import Recommendation
from slipway.inferenceservice.policy.traffic import Traffic, Window
from slipway.inferenceservice.policy.zero import ActivatorState
from slipway.inferenceservice.service import AUTOSCALERS, BUDGETS, DEPLOYMENTS, JOBS
from slipway.inferenceservice.state import Observed
from slipway.reconcile.plan import Plan
from slipway.runtime.client.resource import CONFIGMAPS, SERVICES, Resource
from tests.unit.inferenceservice.looks import NOW, PLATFORM

TO_ZERO = {"minReplicas": 0, "maxReplicas": 4, "scaleTarget": 4, "scaleToZeroPodRetentionSeconds": 30}
UID = "u"
PODS = {"slipway.dev/job-uid": UID}
ACTIVATOR = {"slipway.dev/activator": UID}


class Sleeper:
    """`starting`: pods do not get ready. `busy`: requests in each pod. `held`, `heard`: what the activator says."""

    def __init__(self, **spec: Any) -> None:
        self.spec: dict[str, Any] = {"predictor": {"model": {"uri": "pvc://m/a"}}, "autoScaling": TO_ZERO, **spec}
        self.status: dict[str, Any] = {}
        self.there: dict[Resource, dict[str, dict[str, Any]]] = {
            kind: {} for kind in (SERVICES, CONFIGMAPS, JOBS, DEPLOYMENTS, BUDGETS[0], AUTOSCALERS[0])
        }
        self.now = NOW
        self.starting = False
        self.busy = 0.0
        self.held = 0
        self.heard: float | None = None
        self.activator_ready = True
        self.asked = True
        self.history: tuple[Recommendation, ...] = ()
        self.log: list[str] = []

    @property
    def replicas(self) -> int:
        return sum(d["spec"]["replicas"] for n, d in self.there[DEPLOYMENTS].items() if n != activator_name("s"))

    @property
    def leads_to(self) -> dict[str, str]:
        return self.there[SERVICES]["s"]["spec"]["selector"]

    def ready(self) -> tuple[str, str]:
        """Reason and words of the condition Ready, with its status before it."""
        found = self.condition("Ready")
        return f"{found['status']}/{found['reason']}", found["message"]

    def condition(self, kind: str) -> dict[str, Any]:
        return next((c for c in self.status["conditions"] if c["type"] == kind), {})

    def obj(self) -> dict[str, Any]:
        metadata = {"name": "s", "namespace": "team", "uid": UID, "generation": 1}
        return {"metadata": metadata, "spec": self.spec, "status": self.status}

    def _pods(self) -> list[dict[str, Any]]:
        return [] if self.starting else [self._pod(number) for number in range(self.replicas)]

    def _pod(self, number: int) -> dict[str, Any]:
        status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        return {"metadata": {"name": f"p{number}", "uid": f"p{number}", "labels": PODS}, "status": status}

    def look(self) -> Plan:
        """One look, not carried out."""
        obj, deployments = self.obj(), dict(self.there[DEPLOYMENTS])
        activator = deployments.pop(activator_name("s"), None)
        since, now = decided_at(obj), self.now.timestamp()
        told = {"a": ActivatorReply(now, self.held, self.heard)} if self.asked else {}
        demand = demand_since(now if since is None else since, told, ["a"])
        activator_state = ActivatorState(
            ready=is_ready(activator),
            in_place=in_place(self.there[SERVICES].get("s"), UID),
            quiet=demand.known and not demand.wanted,
            wanted=demand.wanted,
            held=demand.held,
            emptied=self.replicas == 0,
            unsettled=unsettled(obj, None),
        )
        pods = self._pods()
        pace = {pod["metadata"]["uid"]: (Traffic(busy=self.busy * 5), 5.0) for pod in pods}
        window = Window("w", 0, pace=pace)
        spec, _ = spec_problems("s", self.spec)
        assert spec is not None
        size = size_of(spec, self.status, pods, window, self.history, self.now, activator_state)
        self.history = size.history
        observed = Observed(
            [*deployments.values()],
            pods,
            self.there,
            None,
            window,
            activator=activator,
            activator_state=activator_state,
        )
        return plan(obj, observed, size, PLATFORM, self.now)

    def once(self) -> bool:
        """One look, carried out; whether it did anything."""
        decision = self.look()
        changed = decision.status != self.status
        self.status = decision.status or {}
        for delete in decision.deletes:
            self.log.append(f"delete {delete.name}")
            self.there[delete.resource].pop(delete.name, None)
        for patch in decision.patches:
            spec = self.there[patch.resource][patch.name]["spec"]
            self.log.append(f"{patch.resource.kind} {patch.body['spec']}")
            for key, value in patch.body["spec"].items():
                spec[key] = {k: v for k, v in value.items() if v} if isinstance(value, dict) else value
        for write in decision.writes:
            name = write.manifest["metadata"]["name"]
            made = {**write.manifest, "metadata": {**write.manifest["metadata"], "uid": name, "generation": 1}}
            self.there[write.resource][name] = made
        self._settled()
        return changed or bool(decision.deletes or decision.patches or decision.writes)

    def _settled(self) -> None:
        for name, deployment in self.there[DEPLOYMENTS].items():
            wanted = deployment["spec"]["replicas"]
            slow = self.starting if name != activator_name("s") else not self.activator_ready
            ready = 0 if slow else wanted
            deployment["status"] = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": wanted}

    def rest(self) -> None:
        """Look until nothing changes."""
        for _ in range(20):
            if not self.once():
                return
        raise AssertionError(f"it does not come to rest: {self.log}")

    def wait(self, seconds: int, step: int = 1) -> None:
        """Time passes, and it is looked at all along."""
        for _ in range(0, seconds, step):
            self.now += timedelta(seconds=step)
            self.rest()


def asleep(**spec: Any) -> Sleeper:
    it = Sleeper(**spec)
    it.rest()
    it.wait(60, step=5)
    return it
