"""Volumes that users bring and where they appear in the container; the operator's own names and paths are kept free."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.quantity import Quantity
from slipway.api.common.types import AbsolutePath, DnsLabel, ObjectName

# Where and as what the operator mounts the rendered job, the token, claims named in URIs, and /dev/shm.
OWN_VOLUMES = "slipway-"
OWN_PATHS = ("/etc/slipway", "/var/run/secrets/slipway.dev", "/mnt/pvc", "/dev/shm")  # noqa: S108

_UPWARDS = "(^|/)[.][.](/|$)"


MOUNT_RULES = (
    Rule(
        "self.mountPath != '/' && !['" + "', '".join(OWN_PATHS) + "'].exists(p, "
        "self.mountPath == p || self.mountPath.startsWith(p + '/'))",
        "mountPath is /, or below a path that the operator mounts itself "
        f"({', '.join(OWN_PATHS)}): choose another one (for /dev/shm set sharedMemory)",
        lambda mount: (
            mount.mount_path != "/" and not any(f"{mount.mount_path}/".startswith(f"{path}/") for path in OWN_PATHS)
        ),
    ),
    Rule(
        f"!self.mountPath.matches('{_UPWARDS}')",
        "paths must not contain '..': write them out",
        lambda mount: not re.search(_UPWARDS, mount.mount_path),
    ),
)


class ClaimVolume(Model):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")
    read_only: bool = Field(False, description="Mount it read-only everywhere.")


class ConfigMapVolume(Model):
    """A ConfigMap as files."""

    name: ObjectName = Field(description="Name of the ConfigMap.")


class SecretVolume(Model):
    """A Secret as files."""

    secret_name: ObjectName = Field(description="Name of the Secret.")


class EmptyDirVolume(Model):
    """Scratch space that lives as long as the pod."""

    medium: Literal["", "Memory"] = Field("", description="The node's disk, or Memory.")
    size_limit: Quantity | None = Field(None, description="The pod is evicted when it holds more.")


class AccessMode(StrEnum):
    """Access to a claim: by one node, one pod, or many."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"
    READ_WRITE_MANY = "ReadWriteMany"


class ClaimRequests(Model):
    """Size of a claim."""

    storage: Quantity = Field(description="Its size, such as 100Gi.")


class ClaimResources(Model):
    """Resources of a claim."""

    requests: ClaimRequests = Field(description="Its size.")


class ClaimSpec(Model):
    """A claim to be made."""

    access_modes: Annotated[list[AccessMode], Field(min_length=1, max_length=1)] = Field(
        default_factory=lambda: [AccessMode.READ_WRITE_ONCE], description="One: each pod has a claim of its own."
    )
    storage_class_name: ObjectName | None = Field(None, description="The cluster's default when unset.")
    resources: ClaimResources = Field(description="What it asks for.")


class ClaimTemplate(Model):
    """Template of a claim."""

    spec: ClaimSpec = Field(description="Of each pod's claim.")


class EphemeralVolume(Model):
    """A claim of each pod's own, made and deleted with it: scratch space that no node's disk holds."""

    volume_claim_template: ClaimTemplate = Field(description="What Kubernetes makes the claims from.")


class Volume(Model):
    """A volume by name, with exactly one source."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), has(self.emptyDir),"
            " has(self.ephemeral)].filter(x, x).size() == 1",
            "set exactly one of persistentVolumeClaim, configMap, secret, emptyDir, ephemeral",
            lambda volume: volume._sources().count(None) == 4,
        ),
        Rule(
            f"!self.name.startsWith('{OWN_VOLUMES}')",
            "volume names that start with slipway- are the operator's own: choose another name",
            lambda volume: not volume.name.startswith(OWN_VOLUMES),
        ),
    )
    name: DnsLabel = Field(description="What volumeMounts refer to.")
    persistent_volume_claim: ClaimVolume | None = Field(None, description="A claim of the job's namespace.")
    config_map: ConfigMapVolume | None = Field(None, description="A ConfigMap as files.")
    secret: SecretVolume | None = Field(None, description="A Secret as files.")
    empty_dir: EmptyDirVolume | None = Field(None, description="Scratch space that lives as long as the pod.")
    ephemeral: EphemeralVolume | None = Field(None, description="A claim for each pod, which lives as long as the pod.")

    def _sources(self) -> list[Model | None]:
        return [self.persistent_volume_claim, self.config_map, self.secret, self.empty_dir, self.ephemeral]


class VolumeMount(Model):
    """Mount of a volume in the container."""

    cel: ClassVar[tuple[Rule, ...]] = (
        *MOUNT_RULES,
        Rule(
            f"!has(self.subPath) || !self.subPath.matches('{_UPWARDS}')",
            "paths must not contain '..': write them out",
            lambda mount: not re.search(_UPWARDS, mount.sub_path or ""),
        ),
    )
    name: DnsLabel = Field(description="Name of one of pod.volumes.")
    mount_path: AbsolutePath = Field(description="Absolute path in the container.")
    sub_path: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^/]")] | None = Field(
        None, description="A folder inside the volume instead of its root."
    )
    read_only: bool = Field(False, description="Mount it read-only.")


class SharedMemory(Model):
    """The pods' /dev/shm, which data loaders and NCCL use between the processes of a node."""

    size_limit: Quantity | None = Field(None, description="No limit but the container's memory when unset.")
