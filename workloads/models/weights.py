"""Initial weights of a training: an artifact, a .safetensors file, or a state dict as torch saves it.

Nothing is ever unpickled but tensors: a file that asks for anything else is refused, because a pickle can run any
program. The last layer may have another number of classes; it then begins anew. Called by the trainer.
"""

import pickle
from pathlib import Path

import torch
from torch import nn

from slipway.api.common.artifact import DESCRIPTION_FILE, WEIGHTS_FILE, LayerChange
from workloads import artifact, storage, tied_tensors
from workloads.errors import BadInput, Corrupt
from workloads.models.weight_parts import WeightParts

TORCH = {".pt", ".pth", ".bin"}


def load(model: nn.Module, uri: str) -> list[str]:
    """Load weights into the model. Returns the names of what begins anew. BadInput for weights of another model."""
    path = storage.fetch(uri)
    if path.is_dir() and not (path / DESCRIPTION_FILE).is_file() and (path / "config.json").is_file():
        from workloads.models import hugging_face

        return hugging_face.load(model, path)
    found = tied_tensors.completed(model, _read(uri))
    own = model.state_dict()
    anew = _last_layer(own, found)
    missing = sorted(set(own) - set(found)) + sorted(set(found) - set(own))
    if missing:
        raise BadInput(f"{uri}: the weights are of another model, for example {missing[0]} is only in one of the two")
    other = [name for name in own if name not in anew and own[name].shape != found[name].shape]
    if other:
        shapes = f"{list(found[other[0]].shape)}, the model has {list(own[other[0]].shape)}"
        raise BadInput(f"{uri}: the weights are of another model, {other[0]} has the shape {shapes}")
    model.load_state_dict({name: own[name] if name in anew else found[name] for name in own})
    return anew


def parts(model: nn.Module, uri: str) -> WeightParts | None:
    """Values of all the model's parameters and buffers in safetensors files, to be read in parts.

    None where they are in another form, or not all of them, or of other shapes: then `load` has the words.
    """
    path = storage.fetch(uri)
    if path.is_dir() and (path / DESCRIPTION_FILE).is_file():
        path = artifact.read(path).folder / WEIGHTS_FILE
    if path.suffix != ".safetensors":
        return None
    try:
        found = WeightParts([path])
    except Corrupt:
        return None
    own = model.state_dict()
    once = {name for name, _ in (*model.named_parameters(), *model.named_buffers())} & set(
        own
    )  # of tied ones the first
    known = {name: place.shape for name, place in found.places.items()}
    fits = all(known.get(name) == tuple(own[name].shape) for name in once)
    return found if fits and set(known) <= set(own) else None


def changes_of(uri: str) -> list[LayerChange]:
    """Changes that compression has made to the layers of the artifact there; none for bare weights."""
    path = storage.fetch(uri)
    if not (path / DESCRIPTION_FILE).is_file():
        return []
    return artifact.read(path).description.architecture.changes or []


def _last_layer(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> list[str]:
    """Names of the last layer's parameters if only their number of classes differs."""
    prefix = list(own)[-1].rpartition(".")[0]
    names = [name for name in own if name.rpartition(".")[0] == prefix]
    differ = [name for name in names if name in found and own[name].shape[1:] == found[name].shape[1:]]
    return names if len(differ) == len(names) and any(own[n].shape != found[n].shape for n in names) else []


def _read(uri: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = storage.fetch(uri)
    if path.is_dir() and (path / DESCRIPTION_FILE).is_file():
        path = artifact.read(path).folder / WEIGHTS_FILE
    if path.is_dir():
        raise BadInput(f"{uri}: a folder that is no artifact: name the file")
    if path.suffix in TORCH:
        return _tensors(uri, path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{uri}: not a safetensors file ({error})") from error


def _tensors(uri: str, path: Path) -> dict[str, torch.Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"{uri}: refused, the file holds more than tensors or is damaged; a pickle can run any program. "
            f"Save model.state_dict() alone, or as safetensors ({first})"
        ) from error
    state = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"{uri}: not a state dict: save model.state_dict()")
    return {str(name): tensor for name, tensor in state.items()}
