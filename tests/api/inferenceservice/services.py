"""Words for what the tests here do to InferenceServices on the stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.api.stage import PATIENCE, Object, Stage, marked
from tests.api.watching import watch

SERVICES = "/apis/slipway.dev/v1alpha1/namespaces/{}/inferenceservices"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
CONFIGMAPS = "/api/v1/namespaces/{}/configmaps"
ADDRESSES = "/api/v1/namespaces/{}/services"
TRAINING_JOBS = "/apis/slipway.dev/v1alpha1/namespaces/{}/trainingjobs"
MODEL = {"model": {"uri": "pvc://models/digits"}}


def manifest(name: str, **spec: Any) -> Object:
    """A service of one replica with a model from a claim, changed by `spec`."""
    kind = {"apiVersion": "slipway.dev/v1alpha1", "kind": "InferenceService"}
    return {**kind, "metadata": {"name": name}, "spec": {"predictor": MODEL, **spec}}


def predictor(**fields: Any) -> Object:
    """Another predictor makes another revision."""
    return {**MODEL, **fields}


class Town:
    """One namespace, with what the tests ask of its services."""

    def __init__(self, stage: Stage, namespace: str) -> None:
        self.stage = stage
        self.namespace = namespace
        self.client = stage.plane.client

    def path(self, collection: str, name: str = "") -> str:
        return collection.format(self.namespace) + (f"/{name}" if name else "")

    def create(self, name: str, **spec: Any) -> Object:
        return self.client.call("POST", self.path(SERVICES), manifest(name, **spec))

    def edit(self, name: str, **spec: Any) -> Object:
        return self.client.patch(self.path(SERVICES, name), {"spec": spec})

    def scale(self, name: str, replicas: int) -> Object:
        """As `kubectl scale` and a HorizontalPodAutoscaler do it."""
        return self.client.patch(f"{self.path(SERVICES, name)}/scale", {"spec": {"replicas": replicas}})

    def get(self, collection: str, name: str) -> Object:
        return self.client.get(self.path(collection, name))

    def status(self, name: str) -> Object:
        found: Object = self.get(SERVICES, name).get("status") or {}
        return found

    def deployments(self, name: str) -> dict[str, Object]:
        """Those of a service, by name."""
        query = f"{self.path(DEPLOYMENTS)}?labelSelector=slipway.dev/job-name={name}"
        return {item["metadata"]["name"]: item for item in self.client.get(query)["items"]}

    def until(self, name: str, holds: Callable[[Object], Any], seconds: float = 20) -> Object:
        """Wait until the service's status satisfies `holds`; returns the status."""
        return self.stage.until_status(self.path(SERVICES), name, holds, seconds)

    def until_ready(self, name: str, seconds: float = 20, **replicas: int) -> Object:
        """Wait until the newest generation serves, with so many replicas if told."""
        generation = self.get(SERVICES, name)["metadata"]["generation"]

        def holds(status: Object) -> bool:
            counts = status.get("replicas") or {}
            right = all(counts.get(key) == value for key, value in replicas.items())
            return status.get("observedGeneration") == generation and marked(status, "Ready", "True") and right

        return self.until(name, holds, seconds)

    def until_deployments(
        self, name: str, holds: Callable[[dict[str, Object]], Any], seconds: float = 20
    ) -> dict[str, Object]:
        return watch(
            self.client,
            self.path(DEPLOYMENTS),
            holds,
            selector=f"slipway.dev/job-name={name}",
            seconds=seconds * PATIENCE,
        )

    def trained(self, name: str, digest: str, uri: str = "pvc://models/digits", **said: Any) -> None:
        """Write the end of a TrainingJob that no operator here has to run: one managed by somebody else."""
        job = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {
                "trainer": {"image": "x", "command": ["train"]},
                "runPolicy": {"managedBy": "example.com/elsewhere"},
            },
        }
        self.client.apply(self.path(TRAINING_JOBS), job)
        moment = "2026-11-22T12:00:00Z"
        done = {
            "type": "Succeeded",
            "status": "True",
            "reason": "Succeeded",
            "message": "done",
            "lastTransitionTime": moment,
        }
        status = {"conditions": [done], "artifact": {"uri": uri, "digest": digest, **said}}
        self.client.patch(f"{self.path(TRAINING_JOBS, name)}/status", {"status": status})

    def writes(self) -> list[Object]:
        """What the operator changed in this namespace, events aside."""
        return [e for e in self.stage.writes(self.namespace) if "/events" not in e["requestURI"]]


def revision(status: Object) -> str:
    """The newest revision that serves."""
    return str(status["components"]["predictor"]["latestReadyRevision"])
