"""Containers of a user's own in a job's pods, before its container or beside it: a typed subset of Kubernetes'."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.containers.env import EnvFroms, EnvVar, Words, bounded
from slipway.api.common.resources import Resources
from slipway.api.common.types import AbsolutePath, DnsLabel, ImageName
from slipway.api.common.volumes import VolumeMount

# By which pods are judged.
OWN_NAMES = ("trainer", "quantizer", "build", "server")


class OtherContainer(Model):
    """A container that is the user's own."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.name in ["
            + ", ".join(f"'{name}'" for name in OWN_NAMES)
            + "]) && !self.name.startsWith('slipway-')",
            "the operator's own container has this name: choose another one",
            lambda one: one.name not in OWN_NAMES and not one.name.startswith("slipway-"),
        ),
        bounded("command", "args"),
    )
    name: DnsLabel = Field(description="Its name in the pod.")
    image: ImageName = Field(description="Its image.")
    command: Words = Field(default_factory=list, description="The image's own when empty.")
    args: Words = Field(default_factory=list, description="The image's own when empty.")
    env: Annotated[list[EnvVar], Field(max_length=64), MapBy("name")] = Field(
        default_factory=list, description="Variables of its environment."
    )
    env_from: EnvFroms = Field(default_factory=list, description="Variables from whole ConfigMaps and Secrets.")
    working_dir: AbsolutePath | None = Field(None, description="The image's own when unset.")
    resources: Resources = Field(default_factory=Resources, description="What it asks of the node.")
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32), MapBy("mount_path")] = Field(
        default_factory=list, description="Where volumes of pod.volumes appear in it."
    )

    def rendered(self, **shared: Any) -> dict[str, Any]:
        """Container of the pod's manifest; `shared`: fields that all containers of the pod have."""
        asked = self.wire()
        kept = {name: value for name, value in asked.items() if value not in ([], {}, None)}
        return {**kept, **shared, "terminationMessagePolicy": "FallbackToLogsOnError"}


def _mounted(pod: Any, field: str) -> bool:
    mounted = {mount.name for one in getattr(pod, field) for mount in one.volume_mounts}
    return mounted <= {volume.name for volume in pod.volumes}


def _has_volumes(field: str) -> Rule:
    named = "".join(f"_{c.lower()}" if c.isupper() else c for c in field)
    return Rule(
        f"!has(self.{field}) || self.{field}.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m,"
        " has(self.volumes) && self.volumes.exists(v, v.name == m.name)))",
        f"{field}: volumeMounts name a volume that pod.volumes does not have: add the volume or correct the name",
        lambda pod: _mounted(pod, named),
    )


OTHERS = (
    Rule(
        "!has(self.initContainers) || !has(self.sidecars)"
        " || self.initContainers.all(c, !self.sidecars.exists(s, s.name == c.name))",
        "a container of sidecars has the name of one of initContainers: choose another one",
        lambda pod: {one.name for one in pod.init_containers}.isdisjoint(one.name for one in pod.sidecars),
    ),
    _has_volumes("initContainers"),
    _has_volumes("sidecars"),
)
