"""A TrainingJob as the rest of this folder sees it: identity, spec, and the platform it runs on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api.training.runtime import NodeVolume
from slipway.api.training.runtime_ref import RuntimeKind
from slipway.api.training.strategy import Choice
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.gang.state import Hold
from slipway.gang.status_endpoint import StatusEndpoint
from slipway.reconcile import labels
from slipway.runtime.client.resource import Resource
from slipway.trainingjob import network

KIND = "TrainingJob"
TRAINING_JOBS = Resource("slipway.dev", "v1alpha1", "trainingjobs", KIND)
RUNTIMES = {
    RuntimeKind.TRAINING_RUNTIME: Resource("slipway.dev", "v1alpha1", "trainingruntimes", "TrainingRuntime"),
    RuntimeKind.CLUSTER_TRAINING_RUNTIME: Resource(
        "slipway.dev", "v1alpha1", "clustertrainingruntimes", "ClusterTrainingRuntime", namespaced=False
    ),
}


@dataclass(frozen=True)
class Platform:
    """Platform of every job: the installation's trainer image and status endpoint."""

    trainer_image: str
    # Where pods post their progress.
    endpoint: StatusEndpoint = field(default_factory=StatusEndpoint)
    # Since when: while the operator was away nobody could report.
    listening: datetime | None = None
    # Of pods that ask for an accelerator.
    gpu_image: str = ""


@dataclass(frozen=True)
class Cluster:
    """State of the cluster as it concerns one job. `hold`: why its gang must not be created yet.

    `gpu_bytes`: memory of the smallest GPU that it may get, as far as its nodes say. `deleted_pods`: its pods that
    are gone, as they were last seen. `lets_in`: whether gangs wait in the line of the operator at all.
    `gives_way`: the job of higher priority that takes its place. `runtime`: what it names in runtimeRef, if that is
    there; `source`: the job whose model it tunes further, likewise.
    """

    hold: Hold | None = None
    gpu_bytes: int | None = None
    deleted_pods: Sequence[Mapping[str, Any]] = ()
    lets_in: bool = False
    gives_way: str = ""
    runtime: Mapping[str, Any] | None = None
    source: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TrainingJob:
    """One valid job."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: TrainingJobSpec
    # What `strategy: Auto` came to, or None where nothing was to be chosen.
    strategy: Choice | None = None
    # What its runtime gives away of the nodes.
    node_volumes: tuple[NodeVolume, ...] = ()

    @property
    def service(self) -> str:
        """Name of the headless Service that gives the pods their stable names."""
        return f"{self.name}-nodes"

    @property
    def config_map(self) -> str:
        """Name of the ConfigMap with the rendered job."""
        return f"{self.name}-job"

    @property
    def secret(self) -> str:
        """Name of the Secret with the key by which the pods know each other; nobody else can have made it before."""
        return f"{self.name}-gang-{self.uid[:8]}"

    def hostname(self, index: int) -> str:
        """A node's host name, the same in every attempt."""
        return f"{self.name}-node-{index}"

    def pod(self, index: int, attempt: int) -> str:
        """Name of a node's pod; the attempt is in it so that nothing waits for a ghost on a lost node."""
        return f"{self.hostname(index)}-a{attempt}"

    @property
    def master_address(self) -> str:
        """Node 0's stable DNS name."""
        return f"{self.hostname(0)}.{self.service}.{self.namespace}.svc"

    @property
    def master_port(self) -> int:
        """Port on which node 0 listens."""
        return network.master_port(self.spec.torch.master_port, self.spec.network, self.uid)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every child."""
        return labels.owned(KIND, self.name, self.uid)

    @property
    def owner(self) -> dict[str, Any]:
        """The reference by which children are found and cleaned up."""
        return labels.controller(TRAINING_JOBS.api_version, KIND, self.name, self.uid)


def identify(
    obj: Mapping[str, Any],
    spec: TrainingJobSpec,
    strategy: Choice | None = None,
    node_volumes: tuple[NodeVolume, ...] = (),
) -> TrainingJob:
    """The object from the API server with its parsed spec."""
    metadata = obj["metadata"]
    generation = metadata.get("generation") or 1
    return TrainingJob(
        metadata["name"], metadata["namespace"], metadata["uid"], generation, spec, strategy, node_volumes
    )
