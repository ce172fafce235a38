"""The typed subset of a pod that users may set: an inlined PodSpec would make the CRD too large for `kubectl apply`."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.containers.container import OTHERS, OtherContainer
from slipway.api.common.scheduling import Affinity, Toleration
from slipway.api.common.types import GROUP, LABEL_KEY, MAX_INT32, AnnotationValue, LabelKey, LabelValue, ObjectName
from slipway.api.common.volumes import Volume, VolumeMount

RESERVED_LABELS = (f"{GROUP}/", "app.kubernetes.io/managed-by")


class ImagePullSecret(Model):
    """A registry's credentials by name."""

    name: ObjectName = Field(description="Name of a Secret of type kubernetes.io/dockerconfigjson.")


def _own_keys(field: str) -> Rule:
    return Rule(
        f"!has(self.{field}) || self.{field}.all(k, "
        + " && ".join(f"!k.startsWith('{prefix}')" for prefix in RESERVED_LABELS)
        + ")",
        f"{field}: keys that start with {GROUP}/ and app.kubernetes.io/managed-by are set by the operator: remove them",
        lambda settings: not any(key.startswith(RESERVED_LABELS) for key in getattr(settings, field)),
    )


def _well_formed_keys(field: str) -> Rule:
    return Rule(
        f"!has(self.{field}) || self.{field}.all(k, k.matches('{LABEL_KEY}'))",
        f"{field}: a key is [domain/]name, with at most 63 letters, digits, '-', '_' or '.' in the name",
    )


class PullPolicy(StrEnum):
    """Image pull policy: when a node asks the registry for an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Capability(StrEnum):
    """Linux capability that a container may ask for beyond the level `restricted`; none makes it the node's master."""

    CHOWN = "CHOWN"
    DAC_OVERRIDE = "DAC_OVERRIDE"
    FOWNER = "FOWNER"
    IPC_LOCK = "IPC_LOCK"
    KILL = "KILL"
    NET_BIND_SERVICE = "NET_BIND_SERVICE"
    NET_RAW = "NET_RAW"
    PERFMON = "PERFMON"
    SETGID = "SETGID"
    SETUID = "SETUID"
    SYS_NICE = "SYS_NICE"
    SYS_PTRACE = "SYS_PTRACE"


class PodPlace(Model):
    """Settings of the pods beside their container: labels, placement, volumes, identity."""

    cel: ClassVar[tuple[Rule, ...]] = (
        _own_keys("labels"),
        _own_keys("annotations"),
        *(_well_formed_keys(field) for field in ("labels", "annotations", "nodeSelector")),
        Rule(
            "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes)"
            " && self.volumes.exists(v, v.name == m.name))",
            "volumeMounts name a volume that pod.volumes does not have: add the volume or correct the name",
            lambda pod: {mount.name for mount in pod.volume_mounts} <= {volume.name for volume in pod.volumes},
        ),
    )
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="Labels of the pods."
    )
    annotations: Annotated[dict[LabelKey, AnnotationValue], Field(max_length=32)] = Field(
        default_factory=dict, description="Annotations of the pods."
    )
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default_factory=list, description="Taints that the pods may run on."
    )
    affinity: Affinity | None = Field(None, description="Nodes that the pods must or should run on.")
    volumes: Annotated[list[Volume], Field(max_length=32), MapBy("name")] = Field(
        default_factory=list, description="Volumes beside those of pvc:// URIs, which are mounted by themselves."
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32), MapBy("mount_path")] = Field(
        default_factory=list, description="Where the volumes appear in the container."
    )
    image_pull_secrets: Annotated[list[ImagePullSecret], Field(max_length=8), MapBy("name")] = Field(
        default_factory=list, description="Credentials of the image's registry."
    )
    service_account_name: ObjectName | None = Field(None, description="The namespace's `default` when unset.")
    priority_class_name: ObjectName | None = Field(None, description="Priority of the pods.")
    scheduler_name: ObjectName | None = Field(None, description="The cluster's own scheduler when unset.")
    runtime_class_name: ObjectName | None = Field(
        None, description="A RuntimeClass, such as nvidia or gvisor; the node's own runtime when unset."
    )
    run_as_user: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="The pods' user id; the image's own when not set. Never 0."
    )
    run_as_group: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="The pods' group id; the image's own when not set."
    )
    run_as_non_root: bool = Field(
        True, description="false: an image that runs as root may, where the namespace's pod security level allows it."
    )
    read_only_root_filesystem: bool = Field(
        True,
        description="Containers write to /tmp and to volumes alone. false: also to their image's files, which an image "
        "may expect that keeps caches or results elsewhere; lost with the container.",
    )
    fs_group: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="The group that owns the volumes' files."
    )
    capabilities: Annotated[list[Capability], Field(max_length=16)] = Field(
        default_factory=list,
        description="Linux capabilities of the container, such as IPC_LOCK for RDMA or SYS_PTRACE for profilers; only "
        "NET_BIND_SERVICE where the namespace's pod security level is restricted. Most have an effect for root alone.",
    )
    image_pull_policy: PullPolicy | None = Field(
        None, description="Always for the tag latest and for none, IfNotPresent for others, when unset."
    )

    def security(self) -> dict[str, Any]:
        """The pods' securityContext: what the level `restricted` asks for, but for what the user lifts."""
        security: dict[str, Any] = {
            "runAsNonRoot": self.run_as_non_root,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        chosen = {"runAsUser": self.run_as_user, "runAsGroup": self.run_as_group, "fsGroup": self.fs_group}
        return security | {key: value for key, value in chosen.items() if value is not None}

    def contained(self, *more: Capability) -> dict[str, Any]:
        """The container's securityContext: no capability but those that the user, or a field of the kind, asks for."""
        added = sorted({capability.value for capability in (*self.capabilities, *more)})
        capabilities = {"drop": ["ALL"], **({"add": added} if added else {})}
        read_only = {"readOnlyRootFilesystem": True} if self.read_only_root_filesystem else {}
        return {"allowPrivilegeEscalation": False, **read_only, "capabilities": capabilities}

    def pulled(self) -> dict[str, str]:
        """The field of each container that says when its image is pulled; {} when the cluster decides."""
        return {} if self.image_pull_policy is None else {"imagePullPolicy": self.image_pull_policy.value}


class PodSettings(PodPlace):
    """Settings of a job's pods; those of a service have their own way to end."""

    cel: ClassVar[tuple[Rule, ...]] = (*PodPlace.cel, *OTHERS)
    init_containers: Annotated[list[OtherContainer], Field(max_length=4), MapBy("name")] = Field(
        default_factory=list, description="What runs before each pod's own container, one after the other."
    )
    sidecars: Annotated[list[OtherContainer], Field(max_length=4), MapBy("name")] = Field(
        default_factory=list,
        description="What runs beside each pod's own container, by which alone the job is judged: once that has ended "
        "the pod is ended, with its grace period, whatever else runs in it.",
    )
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        30, description="Between SIGTERM and SIGKILL: the time to save a checkpoint."
    )

    def beside(self, own: dict[str, Any]) -> dict[str, Any]:
        """The pod's containers: `own`, and the user's."""
        shared = {"securityContext": self.contained(), **self.pulled()}
        first = [one.rendered(**shared) for one in self.init_containers]
        beside = [one.rendered(**shared) for one in self.sidecars]
        return {"containers": [own, *beside], **({"initContainers": first} if first else {})}
