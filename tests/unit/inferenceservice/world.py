"""A service whose Deployments do at once what they are told, looked at until it comes to rest; for canaries."""

from datetime import timedelta
from typing import Any

from slipway.inferenceservice.policy.traffic import Traffic, TrafficSample, Window, advance
from slipway.inferenceservice.service import DEPLOYMENTS
from slipway.inferenceservice.telemetry.traffic_history import recall, window_name
from tests.unit.inferenceservice.looks import NOW, deployed, look

STEPS = [{"trafficPercent": 20, "analysisSeconds": 60}, {"trafficPercent": 75, "analysisSeconds": 60}]
ROLLOUT: dict[str, Any] = {"strategy": "Canary", "canary": {"steps": STEPS, "gate": {"minRequests": 10}}}


class World:
    """A service with 4 replicas whose canary is begun; Deployments do at once what they are told."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] = {"predictor": {"model": {"uri": "pvc://m/a"}}, "replicas": 4, "rollout": ROLLOUT}
        self.status: dict[str, Any] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.now = NOW
        self.window: Window | None = None
        self.sizes: list[dict[str, int]] = []
        self.pods: list[dict[str, Any]] = []
        # Revisions that do not get ready; with words, those of which Kubernetes has given up.
        self.unready: dict[str, str] = {}
        self.settle()

    def look(self):
        obj = {
            "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 1},
            "spec": self.spec,
            "status": self.status,
        }
        return look(obj, self.deployments.values(), self.pods, now=self.now, window=self.window)

    def once(self) -> bool:
        """One look, carried out; whether it did anything."""
        decision = self.look()
        changed = decision.status != self.status
        self.status = decision.status
        for delete in (one for one in decision.deletes if one.resource is DEPLOYMENTS):
            self.deployments.pop(delete.name, None)
        for patch in (one for one in decision.patches if one.resource is DEPLOYMENTS):
            self.deployments[patch.name]["spec"].update(patch.body["spec"])
        if any(write.manifest["kind"] == "Deployment" for write in decision.writes):
            made = deployed(decision, uid=f"d-{len(self.sizes)}-{len(self.deployments)}")
            self.deployments[made["metadata"]["name"]] = made
        for name, deployment in self.deployments.items():
            deployment["status"] = self._status(name.removeprefix("digits-"), deployment["spec"]["replicas"])
        self.sizes.append({name: d["spec"]["replicas"] for name, d in self.deployments.items()})
        return changed or bool(decision.writes or decision.patches or decision.deletes)

    def _status(self, revision: str, replicas: int) -> dict[str, Any]:
        ready = 0 if revision in self.unready else replicas
        status = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": replicas}
        if not self.unready.get(revision):
            return status
        late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        return {**status, "conditions": [{**late, "message": self.unready[revision]}]}

    def settle(self) -> None:
        for _ in range(20):
            if not self.once():
                return
        raise AssertionError("it does not come to rest")

    def edit(self, **batching: int) -> None:
        self.spec = {**self.spec, "predictor": {"model": {"uri": "pvc://m/a"}, "batching": batching}}

    def revisions(self) -> dict[str, int]:
        return {name.removeprefix("digits-"): d["spec"]["replicas"] for name, d in self.deployments.items()}

    @property
    def canary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status["canaryStatuses"][0]
        return found

    def traffic(self, seconds: int, errors: int = 0, requests: int = 1000) -> None:
        """So many requests to each revision, over so many seconds."""
        name = window_name(self.status)
        for after, count in ((0, 0), (seconds, requests)):
            self.now += timedelta(seconds=after)
            pods = {
                revision: TrafficSample(
                    revision,
                    self.now.timestamp(),
                    Traffic(count, errors if fails and count else 0, slow={0.01: count}, outputs={"y/0": count}),
                )
                for revision, fails in ((r, r == self.canary["name"]) for r in self.revisions())
            }
            self.window = advance(self.window, name, self.now.timestamp(), pods)

    def new_operator(self, away: int) -> None:
        """The one that was is gone, and after so many seconds another one has only what is written."""
        self.now += timedelta(seconds=away)
        self.window = recall(self.status, self.now)


def begun() -> tuple[World, str]:
    world = World()
    (first,) = world.revisions()
    world.edit(maxBatchSize=8)
    world.settle()
    return world, first
