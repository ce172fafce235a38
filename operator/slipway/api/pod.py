"""The typed subset of a pod that users may set: never an inlined PodSpec, whose CRD is too large for `kubectl apply`."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from slipway.api.common import (
    MAX_INT32,
    AbsolutePath,
    AnnotationValue,
    DnsLabel,
    LabelKey,
    LabelValue,
    LongText,
    Model,
    ObjectName,
    Quantity,
    Rule,
    ShortText,
)

EnvName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]


class KeySelector(Model):
    """One key of a ConfigMap or a Secret."""

    name: ObjectName
    key: Annotated[str, Field(min_length=1, max_length=253)]
    optional: bool = False


class EnvSource(Model):
    """Where a variable's value comes from."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.configMapKeyRef) != has(self.secretKeyRef)", "set exactly one of configMapKeyRef, secretKeyRef"),
    )
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.config_map_key_ref is None) == (self.secret_key_ref is None):
            raise ValueError("set exactly one of configMapKeyRef, secretKeyRef")
        return self


class EnvVar(Model):
    """A variable of the container's environment."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule("!(has(self.value) && has(self.valueFrom))", "set value or valueFrom, not both"),
    )
    name: EnvName
    value: LongText | None = None
    value_from: EnvSource | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.value is not None and self.value_from is not None:
            raise ValueError("set value or valueFrom, not both")
        return self


ResourceList = Annotated[dict[Annotated[str, Field(min_length=1, max_length=317)], Quantity], Field(max_length=32)]


class Resources(Model):
    """What each pod asks of its node."""

    limits: ResourceList | None = None
    requests: ResourceList | None = None


class Toleration(Model):
    """Lets the pods run on nodes with a taint."""

    key: Annotated[str, Field(max_length=317)] | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = None


class SelectorOperator(StrEnum):
    """How a node's label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


class NodeRequirement(Model):
    """One comparison with a node's label."""

    key: LabelKey
    operator: SelectorOperator
    values: Annotated[list[LabelValue], Field(max_length=64)] = Field(default_factory=list)


class NodeTerm(Model):
    """All of these must hold."""

    match_expressions: list[NodeRequirement] = Field(min_length=1, max_length=16)


class RequiredNodes(Model):
    """Any of these terms must hold."""

    node_selector_terms: list[NodeTerm] = Field(min_length=1, max_length=16)


class PreferredNodes(Model):
    """A preference and its weight."""

    weight: Annotated[int, Field(ge=1, le=100)]
    preference: NodeTerm


class NodeAffinity(Model):
    """Which nodes the pods must or should run on."""

    required_during_scheduling_ignored_during_execution: RequiredNodes | None = None
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=16)] | None
    ) = None


class Affinity(Model):
    """The part of Kubernetes' affinity that a gang of equal pods needs."""

    node_affinity: NodeAffinity | None = None


class ClaimVolume(Model):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: ObjectName
    read_only: bool = False


class ConfigMapVolume(Model):
    """A ConfigMap as files."""

    name: ObjectName


class SecretVolume(Model):
    """A Secret as files."""

    secret_name: ObjectName


class EmptyDirVolume(Model):
    """Scratch space that lives as long as the pod."""

    medium: Literal["", "Memory"] = ""
    size_limit: Quantity | None = None


class Volume(Model):
    """A volume by name, with exactly one source."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), has(self.emptyDir)].filter(x, x).size() == 1",
            "set exactly one of persistentVolumeClaim, configMap, secret, emptyDir",
        ),
    )
    name: DnsLabel
    persistent_volume_claim: ClaimVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    empty_dir: EmptyDirVolume | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        sources = (self.persistent_volume_claim, self.config_map, self.secret, self.empty_dir)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("set exactly one of persistentVolumeClaim, configMap, secret, emptyDir")
        return self


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: DnsLabel
    mount_path: AbsolutePath
    sub_path: Annotated[str, Field(max_length=512)] | None = None
    read_only: bool = False


class ImagePullSecret(Model):
    """A registry's credentials by name."""

    name: ObjectName


class PodSettings(Model):
    """What the job's pods share, beside their container."""

    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    annotations: Annotated[dict[LabelKey, AnnotationValue], Field(max_length=32)] = Field(default_factory=dict)
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(default_factory=list)
    affinity: Affinity | None = None
    volumes: Annotated[list[Volume], Field(max_length=32)] = Field(default_factory=list)
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = Field(default_factory=list)
    image_pull_secrets: Annotated[list[ImagePullSecret], Field(max_length=8)] = Field(default_factory=list)
    service_account_name: ObjectName | None = None
    priority_class_name: ObjectName | None = None
    scheduler_name: ObjectName | None = None
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        30, description="Between SIGTERM and SIGKILL: the time to save a checkpoint."
    )
    run_as_user: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="The pods' user id; the image's own when not set. Never root."
    )
    fs_group: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="The group that owns the volumes' files."
    )


Words = Annotated[list[LongText], Field(max_length=128)]
Note = ShortText
