"""TrainingRuntime and ClusterTrainingRuntime: what a platform fills into the jobs that name one, and nothing else.

A runtime says nothing of what is trained: command, recipe, output and number of nodes are a job's own. The two kinds
differ in one field: what comes from the node itself is for whoever rules the cluster to give away.
"""

import json
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from slipway.api.common.base import MapBy, Model, Rule, problems_of
from slipway.api.common.containers.env import EnvFroms, EnvVar
from slipway.api.common.kind import Column, Kind
from slipway.api.common.pod import PodSettings
from slipway.api.common.resources import Resources
from slipway.api.common.scheduling import Scheduling
from slipway.api.common.types import AbsolutePath, CleanPodPolicy, ImageName, PositiveSeconds, Seconds
from slipway.api.common.volumes import MOUNT_RULES, SharedMemory
from slipway.api.training.elastic import TrainingFailurePolicy
from slipway.api.training.network import Network
from slipway.api.training.runtime_ref import MOST_BYTES, RuntimeKind


class RuntimeTrainer(Model):
    """The container that each node runs, but for what it runs."""

    image: ImageName | None = Field(None, description="Of jobs that set none.")
    env: Annotated[list[EnvVar], Field(max_length=64), MapBy("name")] = Field(
        default_factory=list, description="Variables; a job's own of the same name win over them."
    )
    env_from: EnvFroms = Field(
        default_factory=list, description="Whole ConfigMaps and Secrets of the job's namespace; a job's own come after."
    )
    working_dir: AbsolutePath | None = Field(None, description="Of jobs that set none.")
    resources_per_node: Resources = Field(
        default_factory=Resources, description="By resource: what a job asks of cpu takes the place of cpu here alone."
    )


class RuntimeRunPolicy(Model):
    """Limits of runs that set none."""

    active_deadline_seconds: PositiveSeconds | None = Field(None, description="As of a job.")
    startup_deadline_seconds: PositiveSeconds | None = Field(None, description="As of a job.")
    ttl_seconds_after_finished: Seconds | None = Field(None, description="As of a job.")
    clean_pod_policy: CleanPodPolicy = Field(CleanPodPolicy.RUNNING, description="As of a job.")


class HostPath(Model):
    """A folder or file of the node."""

    path: AbsolutePath = Field(description="Where it lies on the node.")


class NodeVolume(Model):
    """A part of the node's file system, where the pods' containers find it."""

    cel: ClassVar[tuple[Rule, ...]] = (
        *MOUNT_RULES,
        Rule(
            "!self.hostPath.path.matches('(^|/)[.][.](/|$)') && self.hostPath.path != '/'",
            "hostPath: the node's root is not given away, and paths must not contain '..': name a folder",
            lambda one: one.host_path.path != "/" and ".." not in one.host_path.path.split("/"),
        ),
    )
    mount_path: AbsolutePath = Field(description="Absolute path in the job's own container.")
    read_only: bool = Field(True, description="false: pods may write to the node.")
    host_path: HostPath = Field(description="What of the node.")


class TrainingRuntimeSpec(Model):
    """Settings of the jobs that name this runtime; a job's own win, field by field."""

    trainer: RuntimeTrainer = Field(default_factory=RuntimeTrainer, description="The container that each node runs.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="When the gangs start, and before whom.")
    network: Network = Field(default_factory=Network, description="How the pods reach each other.")
    pod: PodSettings = Field(default_factory=PodSettings, description="What the pods share beside their container.")
    shared_memory: SharedMemory = Field(default_factory=SharedMemory, description="The pods' /dev/shm.")
    run_policy: RuntimeRunPolicy = Field(default_factory=RuntimeRunPolicy, description="Limits of the runs.")
    failure_policy: TrainingFailurePolicy = Field(
        default_factory=TrainingFailurePolicy, description="What a failed pod means."
    )


class ClusterTrainingRuntimeSpec(TrainingRuntimeSpec):
    """The same, and what only the cluster's administrators can give away."""

    node_volumes: Annotated[list[NodeVolume], Field(max_length=8), MapBy("mount_path")] = Field(
        default_factory=list,
        description="Parts of the node that the jobs' own containers see; a job cannot name one itself. The namespace "
        "must allow it (Pod Security privileged).",
    )


MODELS: dict[str, type[TrainingRuntimeSpec]] = {
    RuntimeKind.TRAINING_RUNTIME: TrainingRuntimeSpec,
    RuntimeKind.CLUSTER_TRAINING_RUNTIME: ClusterTrainingRuntimeSpec,
}


def runtime_problems(kind: str, spec: dict[str, Any]) -> tuple[TrainingRuntimeSpec | None, list[str]]:
    """Parse a runtime's spec as the API server gave it. Returns the model, or None and every problem in words."""
    text = json.dumps(spec)
    try:
        parsed = MODELS[kind].model_validate_json(text, strict=True)
    except ValidationError as error:
        return None, problems_of(error)
    if len(said(parsed)) > MOST_BYTES:
        return None, [f"spec: more than {MOST_BYTES // 1024} KiB: put what is long into a ConfigMap or the image"]
    return parsed, []


def said(spec: TrainingRuntimeSpec) -> str:
    """JSON of what the runtime says that is no default."""
    return json.dumps(spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True))


_COLUMNS = (
    Column("Image", ".spec.trainer.image"),
    Column("GPUs", r".spec.trainer.resourcesPerNode.limits.nvidia\.com/gpu", description="nvidia.com/gpu of each node"),
    Column("Age", ".metadata.creationTimestamp", "date"),
)
_ABOUT = (
    "Settings that a platform keeps for TrainingJobs that name it in runtimeRef: image, resources, placement, policies"
)

NAMESPACED = Kind(
    kind=RuntimeKind.TRAINING_RUNTIME.value,
    plural="trainingruntimes",
    singular="trainingruntime",
    short="tr",
    description=f"{_ABOUT}. For the jobs of its namespace.",
    spec=TrainingRuntimeSpec,
    status=None,
    default_status={},
    name_pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    columns=_COLUMNS,
)
CLUSTER = replace(
    NAMESPACED,
    kind=RuntimeKind.CLUSTER_TRAINING_RUNTIME.value,
    plural="clustertrainingruntimes",
    singular="clustertrainingruntime",
    short="ctr",
    description=f"{_ABOUT}. For the jobs of all namespaces.",
    spec=ClusterTrainingRuntimeSpec,
    namespaced=False,
)
