"""An InferenceService as the rest of this folder sees it: identity, spec, names of children, the platform."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.common.types import GROUP
from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.reconcile import labels
from slipway.reconcile.source import Pinned
from slipway.runtime.client.resource import Resource

KIND = "InferenceService"
INFERENCE_SERVICES = Resource("slipway.dev", "v1alpha1", "inferenceservices", KIND)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
# Which pods are a Deployment's own, they alone tell.
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
JOBS = Resource("batch", "v1", "jobs", "Job")
# The first that the server knows is used.
BUDGETS = tuple(
    Resource("policy", version, "poddisruptionbudgets", "PodDisruptionBudget") for version in ("v1", "v1beta1")
)
AUTOSCALERS = tuple(
    Resource("autoscaling", version, "horizontalpodautoscalers", "HorizontalPodAutoscaler")
    for version in ("v2", "v2beta2")
)
ROUTES = tuple(
    Resource("gateway.networking.k8s.io", version, "httproutes", "HTTPRoute") for version in ("v1", "v1beta1")
)
# Since Gateway API 1.1.
GRPC_ROUTES = (Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute"),)

REVISION = f"{GROUP}/revision"
ENGINE = f"{GROUP}/engine"
# The container that serves.
SERVER = "server"
# On pods whose server speaks TLS; manifests/monitoring reads it, too.
SCHEME = f"{GROUP}/scheme"
HTTPS = 443
HTTP_PORT = 8080
GRPC_PORT = 9000


@dataclass(frozen=True)
class Platform:
    """Platform of every service: the installation's server image, and the optional kinds that the cluster serves."""

    server_image: str
    # In the version that the cluster serves; None where it serves none.
    budgets: Resource | None = None
    autoscalers: Resource | None = None
    routes: Resource | None = None
    grpc_routes: Resource | None = None
    # Of pods that ask for an accelerator.
    gpu_image: str = ""

    @property
    def optional(self) -> list[Resource]:
        """Optional kinds that the cluster serves."""
        kinds = (self.budgets, self.autoscalers, self.routes, self.grpc_routes)
        return [kind for kind in kinds if kind is not None]


@dataclass(frozen=True)
class InferenceService:
    """One valid service."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: InferenceServiceSpec

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every child."""
        return labels.owned(KIND, self.name, self.uid)

    @property
    def owner(self) -> dict[str, Any]:
        """The reference by which children are found and cleaned up."""
        return labels.controller(INFERENCE_SERVICES.api_version, KIND, self.name, self.uid)

    def child(self, revision: str) -> str:
        """Name of a revision's Deployment and ConfigMap."""
        return f"{self.name}-{revision}"

    def revision(self, model: Pinned) -> str:
        """Eight characters that change with anything a pod is made from; the number of replicas is not among it.

        Defaults are left out: a field that a newer Slipway adds makes no new revision of what runs already.
        """
        predictor = self.spec.predictor.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        made_from = {"predictor": predictor, "uri": model.uri, "digest": model.digest}
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:8]


def identify(obj: Mapping[str, Any], spec: InferenceServiceSpec) -> InferenceService:
    """The object from the API server with its parsed spec."""
    metadata = obj["metadata"]
    return InferenceService(
        metadata["name"], metadata["namespace"], metadata["uid"], metadata.get("generation") or 1, spec
    )
