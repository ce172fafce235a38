"""Registry of models: by name, a constructor and its arguments for some data.

Read by trainer, quantizer and server.

A model is rebuilt from `name` and plain arguments (artifact.json), never from a pickle. A user's own model has the name
`module:function`: the trainer calls it because the job says so, everybody else only when the module is allowed by name.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from workloads import storage, user_code
from workloads.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from slipway.api.common.sources import ModelChoice

Arguments = Mapping[str, bool | int | float | str]

# Of a cnn and of a detector whose recipe does not say.
WIDTH = 32
DETECTOR_WIDTH = 16
# Comma-separated modules whose functions an artifact may name.
ALLOWED = "SLIPWAY_OWN_CODE"


@dataclass(frozen=True)
class Images:
    """Properties of picture data for which a model is built: the input's shape and the number of classes."""

    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class Boxes(Images):
    """Properties of pictures whose objects are to be found; classes are those of the objects."""


@dataclass(frozen=True)
class Masks(Images):
    """Properties of pictures of which each pixel has a class."""


@dataclass(frozen=True)
class Text:
    """Properties of text: tokens of a sample, the vocabulary's size, and classes (0: the next token is learned)."""

    length: int
    vocabulary: int
    padding: int
    classes: int = 0


class ModelModule(Protocol):
    """Interface of the modules that build models: a constructor, and its arguments for some data."""

    build: "Callable[..., nn.Module]"
    arguments: Callable[..., dict[str, bool | int | float | str]]


PICTURES = {
    "cnn": "workloads.models.cnn",
    "resnet18": "workloads.models.resnet",
    "resnet50": "workloads.models.resnet",
    "mobilenetv2": "workloads.models.mobilenet",
}
DETECTORS = {"yolo": "workloads.models.yolo"}
SEGMENTERS = {"unet": "workloads.models.unet"}
LANGUAGE = ("gpt2", "gpt2-medium", "gpt2-large")
TEXTS = dict.fromkeys((*LANGUAGE, "text-classifier"), "workloads.models.transformer")
BY_NAME = dict.fromkeys(("torchvision", "timm"), "workloads.models.by_name")
HUGGING_FACE = "hugging-face"
MODELS = {**PICTURES, **DETECTORS, **SEGMENTERS, **TEXTS, **BY_NAME, HUGGING_FACE: "workloads.models.hugging_face"}


def _module(name: str) -> "ModelModule":
    if name not in MODELS:
        raise BadInput(f"no model {name!r}: choose one of {', '.join(MODELS)}")
    module: ModelModule = importlib.import_module(MODELS[name])
    return module


def arguments_for(name: str, images: Images, width: int) -> dict[str, bool | int | float | str]:
    """The constructor's arguments for these images; `width` as in the recipe."""
    return _module(name).arguments(name, images, width)


def fit(choice: "ModelChoice", data: Images | Text) -> tuple[str, dict[str, bool | int | float | str]]:
    """The registry's name and the constructor's arguments for the recipe's model. BadInput where it does not fit."""
    name = choice.name.value
    if choice.callable is not None:
        return choice.callable, {**vars(data), **user_code.decoded(choice.arguments)}
    if name == HUGGING_FACE:
        return name, _module(name).arguments(name, data, storage.fetch(str(choice.uri)))
    if isinstance(data, Boxes) != (name in DETECTORS):
        what = "pictures with boxes" if isinstance(data, Boxes) else "no boxes"
        raise BadInput(f"model {name} does not fit the data set, which holds {what}: choose another of the two")
    if isinstance(data, Masks) != (name in SEGMENTERS) and not (isinstance(data, Masks) and name == "torchvision"):
        what = "masks" if isinstance(data, Masks) else "no masks"
        raise BadInput(
            f"model {name} does not fit the data set, which holds {what}: unet and torchvision's models of "
            "segmentation are for masks"
        )
    if isinstance(data, Images):
        if name in TEXTS:
            raise BadInput(f"model {name} takes text, the data set holds pictures: choose another of the two")
        if name in BY_NAME:
            more = user_code.decoded(choice.arguments)
            return name, _module(name).arguments(name, data, choice.architecture, more)
        return name, arguments_for(name, data, choice.width or (WIDTH if name in PICTURES else DETECTOR_WIDTH))
    if name not in TEXTS or (name in LANGUAGE) != (data.classes == 0):
        what = f"text of {data.classes} classes" if data.classes else "text to be continued"
        raise BadInput(f"model {name} does not fit the data set, which holds {what}: choose another of the two")
    return name, _module(name).arguments(name, data, choice.layers, choice.hidden_size, choice.heads)


def build(name: str, arguments: Arguments, *, own: bool = False) -> "nn.Module":
    """A new model, initialised from torch's global generator: seed it first and every process builds the same one.

    `own`: the caller's job names the model itself, so a `module:function` is called; else only if it is allowed.
    """
    from workloads.models.outputs import parted, plain, rescale

    arguments, spread = parted(arguments)
    if spread is not None:
        return rescale(build(name, arguments, own=own), spread)
    if ":" not in name:
        return _module(name).build(name, **arguments)
    allowed = os.environ.get(ALLOWED, "").split(",")
    if not own and name.split(":", maxsplit=1)[0] not in allowed:
        raise BadInput(
            f"the model is somebody's own code, {name}: trust it by {ALLOWED}={name.split(':', maxsplit=1)[0]}"
        )
    from torch import nn

    model = user_code.call(name, arguments)
    if not isinstance(model, nn.Module):
        raise BadInput(f"{name} returned a {type(model).__name__}, expected a torch.nn.Module")
    return plain(model)
