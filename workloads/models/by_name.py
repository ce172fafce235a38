"""torchvision's and timm's models of pictures, by their names there; built anew, never downloaded.

Parameter names are the libraries', so their files of weights fit (`model.uri`). The `vision` extra has both.
"""

import difflib
from typing import Any

from torch import Tensor, nn

from workloads.errors import BadInput
from workloads.libraries import extra, optional
from workloads.models.outputs import plain
from workloads.models.registry import Images, Masks

LIBRARIES = ("torchvision", "timm")
VISION = extra("vision")
COLOURS = 3
# Would fetch weights from the network; they come from model.uri.
WEIGHTS = ("weights", "pretrained", "weights_backbone", "checkpoint_path", "pretrained_cfg")


def build(name: str, *, architecture: str, classes: int, channels: int, size: int, **more: Any) -> nn.Module:
    """A new model of pictures of `size` pixels. BadInput for a name that the library does not have, or wrong arguments.

    Input float32 [n, channels, height, width], output logits [n, classes].
    """
    if refused := sorted(set(more) & set(WEIGHTS)):
        raise BadInput(f"model.arguments.{refused[0]}: nothing is downloaded; weights to begin with are model.uri")
    try:
        make = _torchvision if name == "torchvision" else _timm
        return plain(make(architecture, classes, channels, size, more))
    except (TypeError, ValueError, AssertionError) as error:
        raise BadInput(f"{name}'s {architecture} cannot be built with {more or 'these sizes'} ({error})") from error


def arguments(
    name: str, images: Images, architecture: str, more: dict[str, Any]
) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor for these pictures."""
    known: dict[str, bool | int | float | str] = {
        "classes": images.classes,
        "channels": images.channels,
        "size": images.height,
    }
    if isinstance(images, Masks):
        known["masks"] = True
    if odd := [key for key, value in more.items() if not isinstance(value, bool | int | float | str)]:
        raise BadInput(f"model.arguments.{odd[0]}: a number, true, false or words are expected")
    return {"architecture": architecture, **known, **more}


def _torchvision(architecture: str, classes: int, channels: int, size: int, more: dict[str, Any]) -> nn.Module:
    library = optional("torchvision.models", "model torchvision is built by torchvision", VISION)
    masks = more.pop("masks", False)
    family = library.segmentation if masks else library
    _require_known("torchvision", architecture, library.list_models(module=family), masks=masks)
    if architecture.startswith("vit_"):
        more = {"image_size": size, **more}
    if masks:
        more = {"weights_backbone": None, **more}
    model: nn.Module = library.get_model(architecture, weights=None, num_classes=classes, **more)
    if channels < COLOURS:
        model.register_forward_pre_hook(_in_colours)
    return model


def _timm(architecture: str, classes: int, channels: int, size: int, more: dict[str, Any]) -> nn.Module:
    library = optional("timm", "model timm is built by timm", VISION)
    _require_known("timm", architecture.split(".", maxsplit=1)[0], library.list_models())
    known = library.get_pretrained_cfg(architecture)
    if known is not None and known.fixed_input_size:
        more = {"img_size": size, **more}
    model: nn.Module = library.create_model(
        architecture, pretrained=False, num_classes=classes, in_chans=channels, **more
    )
    return model


def _in_colours(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Grey pictures as colours; torchvision's models have three channels."""
    return (inputs[0].expand(-1, COLOURS, -1, -1), *inputs[1:])


def _require_known(library: str, architecture: str, names: list[str], *, masks: bool = False) -> None:
    if architecture not in names:
        near = difflib.get_close_matches(architecture, names, 3)
        words = f"did you mean {' or '.join(near)}?" if near else "see its list_models()"
        what = "model of segmentation" if masks else "classifier"
        raise BadInput(f"{library} here has no {what} {architecture!r}: {words}")
