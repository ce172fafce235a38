"""Where a QuantizationJob's stages run, and where they leave what they found: part of its spec."""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.base import MapBy, Model, Rule
from slipway.api.common import ImageName, Uri
from slipway.api.pod import EnvVar
from slipway.api.resources import Resources

WORK_URI = "^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/|file:///)[^ /][^ ]*$"


class WorkFolder(Model):
    """Where stages leave their results and a killed one finds its own."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.uri.matches('{WORK_URI}') && !self.uri.contains('..')",
            "work.uri is pvc://claim/path or file:///path without '..': object stores cannot rename",
            lambda work: re.fullmatch(WORK_URI, work.uri) is not None and ".." not in work.uri,
        ),
    )
    uri: Uri = Field(description="A folder on a claim that all pods can mount, for example pvc://claim/path.")


class Worker(Model):
    """The container of every stage."""

    image: ImageName | None = Field(None, description="The quantizer image of this Slipway release when unset.")
    env: Annotated[list[EnvVar], Field(max_length=128), MapBy("name")] = Field(
        default_factory=list, description="Further variables of the container's environment."
    )
    resources: Resources = Field(default_factory=Resources, description="What each pod asks of its node.")
