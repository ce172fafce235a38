"""Volumes that users bring and where they appear in the container; the operator's own names and paths are kept free."""

import re
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


class Volume(Model):
    """A volume by name, with exactly one source."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), has(self.emptyDir)]"
            ".filter(x, x).size() == 1",
            "set exactly one of persistentVolumeClaim, configMap, secret, emptyDir",
            lambda volume: (
                [volume.persistent_volume_claim, volume.config_map, volume.secret, volume.empty_dir].count(None) == 3
            ),
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
