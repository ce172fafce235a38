"""Tensors of a folder by name: safetensors in one file, or in shards with an index, read one tensor at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.api.common.artifact import WEIGHTS_FILE
from workloads.errors import BadInput, Corrupt
from workloads.language.config import json_of

if TYPE_CHECKING:
    import torch

INDEX_FILE = "model.safetensors.index.json"


class Shards:
    """Tensors of a folder by name, read one at a time."""

    def __init__(self, folder: Path) -> None:
        """BadInput where there are no safetensors; Corrupt for an index that names what is not there."""
        self.folder = folder
        index = folder / INDEX_FILE
        if index.is_file():
            self.files: dict[str, str] = _files_of(index)
        elif (folder / WEIGHTS_FILE).is_file():
            self.files = dict.fromkeys(_keys(folder / WEIGHTS_FILE), WEIGHTS_FILE)
        else:
            raise BadInput(
                f"{folder}: neither {WEIGHTS_FILE} nor {INDEX_FILE}; a pickle (.bin, .pt) can run any program and is "
                "not read: save the model with safe_serialization"
            )
        for name in sorted(set(self.files.values())):
            held = {key for key, file in self.files.items() if file == name}
            missing = held - set(_keys(folder / name))
            if missing:
                raise Corrupt(f"{folder / name}: the index says it holds {min(missing)}, and it does not")

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def tensor(self, name: str) -> "torch.Tensor":
        """One tensor, in memory of its own."""
        from safetensors import safe_open

        with safe_open(self.folder / self.files[name], framework="pt") as opened:
            return opened.get_tensor(name)  # type: ignore[no-any-return]

    def by_file(self) -> Iterator[tuple[str, list[str]]]:
        """Each file with the names of its tensors."""
        for file in sorted(set(self.files.values())):
            yield file, [name for name, where in self.files.items() if where == file]


def _files_of(index: Path) -> dict[str, str]:
    found = json_of(index).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise Corrupt(f"{index}: no weight_map")
    for file in set(found.values()):
        if not isinstance(file, str) or "/" in file or not file.endswith(".safetensors"):
            raise Corrupt(f"{index}: {file!r} is no safetensors file of this folder")
    return {str(name): str(file) for name, file in found.items()}


def _keys(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise Corrupt(f"{path}: the file is missing")
    try:
        with safe_open(path, framework="pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise Corrupt(f"{path}: not a safetensors file ({error})") from error
