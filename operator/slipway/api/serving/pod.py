"""A service's pods beside their container: what jobs' pods have, and pod affinity and init containers."""

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.containers.env import EnvFroms, EnvVar, Words, bounded
from slipway.api.common.pod import PodPlace
from slipway.api.common.resources import Resources
from slipway.api.common.scheduling import NodeAffinity, SelectorOperator
from slipway.api.common.types import AbsolutePath, DnsLabel, ImageName, LabelKey, LabelValue
from slipway.api.common.volumes import OWN_VOLUMES, VolumeMount

SERVER = "server"
Names = Annotated[list[DnsLabel], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})]


class PodRequirement(Model):
    """One comparison with other pods' label."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
            " : self.operator in ['Exists', 'DoesNotExist'] && (!has(self.values) || size(self.values) == 0)",
            "In and NotIn need values, Exists and DoesNotExist take none, and pods have no Gt and Lt",
            lambda one: (
                bool(one.values)
                if one.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}
                else one.operator in {SelectorOperator.EXISTS, SelectorOperator.DOES_NOT_EXIST} and not one.values
            ),
        ),
    )
    key: LabelKey = Field(description="The label's key.")
    operator: SelectorOperator = Field(description="How the label is compared.")
    values: Annotated[list[LabelValue], Field(max_length=16)] = Field(
        default_factory=list, description="What it is compared with."
    )


class PodSelector(Model):
    """Selection of pods: all of it must hold."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.matchLabels) && size(self.matchLabels) > 0)"
            " || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "an empty labelSelector means all pods of the namespace: name some labels",
            lambda selector: bool(selector.match_labels or selector.match_expressions),
        ),
    )
    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(
        default_factory=dict, description="Labels that the pods have."
    )
    match_expressions: Annotated[list[PodRequirement], Field(max_length=8)] = Field(
        default_factory=list, description="Comparisons that must all hold."
    )


class PodTerm(Model):
    """Pods, and what counts as near them."""

    label_selector: PodSelector = Field(description="Which pods.")
    topology_key: LabelKey = Field(description="Nodes with one value of this label are one place.")
    namespaces: Names = Field(default_factory=list, description="Where these pods are; the service's own when empty.")


class WeightedPodTerm(Model):
    """A preference and its weight."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="Weight among the preferences.")
    pod_affinity_term: PodTerm = Field(description="What is preferred.")


class PodAffinity(Model):
    """Pods to run near, or, as podAntiAffinity, away from."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=8)] = Field(
        default_factory=list, description="What must hold."
    )
    preferred_during_scheduling_ignored_during_execution: Annotated[list[WeightedPodTerm], Field(max_length=8)] = Field(
        default_factory=list, description="What should hold."
    )


class ServiceAffinity(Model):
    """Kubernetes' affinity."""

    node_affinity: NodeAffinity | None = Field(None, description="Which nodes the pods must or should run on.")
    pod_affinity: PodAffinity | None = Field(None, description="Which pods they must or should be near.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Which pods they must or should be away from.")


class InitContainer(Model):
    """Container that ends before the server starts: fetches a model, warms a cache. As restricted as the server."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.name != '{SERVER}' && !self.name.startsWith('{OWN_VOLUMES}')",
            "server, and names that start with slipway-, are the operator's own: choose another name",
            lambda container: container.name != SERVER and not container.name.startswith(OWN_VOLUMES),
        ),
        bounded("command", "args"),
    )
    name: DnsLabel = Field(description="Its name in the pod.")
    image: ImageName | None = Field(None, description="The server's when unset.")
    command: Words = Field(default_factory=list, description="The image's own when empty.")
    args: Words = Field(default_factory=list, description="Arguments of the command.")
    working_dir: AbsolutePath | None = Field(None, description="The image's own when unset.")
    env: Annotated[list[EnvVar], Field(max_length=64), MapBy("name")] = Field(
        default_factory=list, description="Its environment."
    )
    env_from: EnvFroms = Field(default_factory=list, description="Variables from whole ConfigMaps and Secrets.")
    resources: Resources = Field(default_factory=Resources, description="What it asks of the node.")
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=16), MapBy("mount_path")] = Field(
        default_factory=list, description="Where volumes of the pod appear in it."
    )


class ServicePodPlace(PodPlace):
    """Settings of a service's pods beside their container."""

    cel: ClassVar[tuple[Rule, ...]] = (
        *PodPlace.cel,
        Rule(
            "!has(self.initContainers) || self.initContainers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m,"
            " has(self.volumes) && self.volumes.exists(v, v.name == m.name)))",
            "initContainers mount a volume that pod.volumes does not have: add the volume or correct the name",
            lambda pod: (
                {mount.name for container in pod.init_containers for mount in container.volume_mounts}
                <= {volume.name for volume in pod.volumes}
            ),
        ),
    )
    affinity: ServiceAffinity | None = Field(  # type: ignore[assignment]
        None, description="Nodes and pods that the pods must or should be with, or away from."
    )
    init_containers: Annotated[list[InitContainer], Field(max_length=8), MapBy("name")] = Field(
        default_factory=list, description="Run one after the other before the server; a job's pods have none."
    )
