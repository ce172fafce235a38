"""Which models are there? The registry: a name, how to build it, and its arguments for some data.

Read by trainer, quantizer and server.

A model is rebuilt from `name` and plain arguments (artifact.json), never from a pickle.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from workloads.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

Arguments = Mapping[str, bool | int | float | str]


@dataclass(frozen=True)
class Images:
    """What a model must know of its data: the input's shape and how many classes there are."""

    channels: int
    height: int
    width: int
    classes: int


class ModelModule(Protocol):
    """What a file of this folder offers."""

    build: "Callable[..., nn.Module]"
    arguments: Callable[[str, Images, int], dict[str, bool | int | float | str]]


MODELS = {
    "cnn": "workloads.models.cnn",
    "resnet18": "workloads.models.resnet",
    "resnet50": "workloads.models.resnet",
}


def _module(name: str) -> "ModelModule":
    if name not in MODELS:
        raise BadInput(f"no model {name!r}: choose one of {', '.join(MODELS)}")
    module: ModelModule = importlib.import_module(MODELS[name])
    return module


def arguments_for(name: str, images: Images, width: int) -> dict[str, bool | int | float | str]:
    """The constructor's arguments for these images; `width` as in the recipe."""
    return _module(name).arguments(name, images, width)


def build(name: str, arguments: Arguments) -> "nn.Module":
    """A new model, initialised from torch's global generator: seed it first and every process builds the same one."""
    return _module(name).build(name, **arguments)
