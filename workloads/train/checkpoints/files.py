"""Safe reading of a checkpoint's files: nothing that they contain is run.

torch.distributed.checkpoint keeps its table of contents as a pickle. Whoever can write into the folder could have it
run any program in the trainer's pod, so the table is read by an unpickler that knows its few harmless classes only, and
entries that are no tensors, which torch would unpickle without a question, are left out.
"""

import enum
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from workloads.errors import BadInput, Corrupt

CLASSES = (
    BytesStorageMetadata, ChunkStorageMetadata, Metadata, MetadataIndex, StorageMeta, TensorProperties,
    TensorStorageMetadata, _StorageInfo, torch.Size,
)  # fmt: skip
KNOWN = {(one.__module__, one.__qualname__) for one in CLASSES} | {
    ("pathlib", "PosixPath"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"),
}


def _member(enumeration: Any, name: str) -> enum.Enum:
    """The enumeration's member. UnpicklingError for any other attribute of anything."""
    if isinstance(enumeration, enum.EnumMeta) and name in enumeration.__members__:
        return enumeration.__members__[name]
    raise pickle.UnpicklingError(f"it asks for {name!r} of {enumeration!r}, which a table of tensors has no use for")


class _Table(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Python 3.11.0 to 3.11.3, Debian 12's among them, write an enumeration's member as getattr(class, name).
        if (module, name) == ("builtins", "getattr"):
            return _member
        known = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if known or (module, name) in KNOWN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a table of tensors has no use for")


class TensorsOnly(FileSystemReader):
    """Reads tensors. Corrupt for a table of contents that asks for anything else."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The table, without entries that are no tensors."""
        path = self._get_metadata_path(kwargs.get("rank"))
        try:
            with self.fs.create_stream(path, "rb") as stream:
                found = _Table(stream).load()
            if not isinstance(found, Metadata):
                raise TypeError(f"a {type(found).__name__}")
        except (pickle.UnpicklingError, EOFError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise Corrupt(f"{path}: refused, not the table of contents of a checkpoint ({error})") from error
        entries = found.state_dict_metadata.items()
        found.state_dict_metadata = {name: one for name, one in entries if isinstance(one, TensorStorageMetadata)}
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


def saved_part(state: dict[str, Any], table: Metadata, folder: Path) -> tuple[dict[str, Any], set[str]]:
    """Part of a state that a checkpoint holds; and the parameters whose moments it does not hold.

    The state is a nest `{"model": ..., "optimizer": {"state": {name: {moment: ...}}}}`, its part another nest of the
    same tensors.

    An optimizer has no moments for a parameter that no gradient has come to (a frozen layer, an unused branch).
    BadInput for a tensor of the model that is not there, or has another shape there: the model's code was changed.
    """
    saved = table.state_dict_metadata
    for name, tensor in _tensors("model", state.get("model", {})):
        found = saved.get(name)
        if not isinstance(found, TensorStorageMetadata) or tuple(found.size) != tuple(tensor.shape):
            instead = (
                "no such tensor" if not isinstance(found, TensorStorageMetadata) else f"the shape {list(found.size)}"
            )
            raise BadInput(
                f"{folder}: the model has {name.partition('.')[2]} of shape {list(tensor.shape)}, the checkpoint "
                f"{instead}: the model's code was changed since; take it back, or use an empty checkpoint folder"
            )
    moments = state.get("optimizer", {}).get("state", {})
    kept = {
        name: there
        for name, own in moments.items()
        if (there := {key: value for key, value in own.items() if f"optimizer.state.{name}.{key}" in saved})
    }
    if "optimizer" not in state:
        return state, set()
    return {**state, "optimizer": {**state["optimizer"], "state": kept}}, set(moments) - set(kept)


def _tensors(prefix: str, nest: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    return ((f"{prefix}.{name}", value) for name, value in nest.items() if isinstance(value, torch.Tensor))
