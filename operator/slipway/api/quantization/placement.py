"""Pods of a QuantizationJob's stages, and the folder of what they found: part of its spec."""

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.containers.env import EnvFroms, EnvVar, bounded
from slipway.api.common.resources import Resources, accelerators
from slipway.api.common.types import ImageName, Uri


class WorkFolder(Model):
    """Folder where stages leave their results and a killed one finds its own."""

    cel: ClassVar[tuple[Rule, ...]] = uris.on_disk(
        uris.LOCAL_URI, "work.uri is pvc://claim/path or file:///path: object stores cannot rename"
    )
    uri: Uri = Field(description="A folder on a claim that all pods can mount, for example pvc://claim/path.")


class Worker(Model):
    """The container of every stage."""

    cel: ClassVar[tuple[Rule, ...]] = (
        bounded(),
        Rule(
            None,
            "the quantizer computes on CPUs, also for TensorRT, and would leave an accelerator idle: ask for none in"
            " worker.resources, or set worker.image to one that computes on it",
            lambda worker: worker.image is not None or not accelerators(worker.resources.asked),
        ),
    )
    image: ImageName | None = Field(None, description="The quantizer image of this Slipway release when unset.")
    env: Annotated[list[EnvVar], Field(max_length=128), MapBy("name")] = Field(
        default_factory=list, description="Further variables of the container's environment."
    )
    env_from: EnvFroms = Field(
        default_factory=list, description="Variables from whole ConfigMaps and Secrets; those of env win over them."
    )
    resources: Resources = Field(default_factory=Resources, description="What each pod asks of its node.")
