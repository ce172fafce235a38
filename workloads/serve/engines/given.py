"""Inputs for the warm-up that the user gives: rows in a file, shapes, or none. Read before an engine is opened."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from slipway.api.serving.warmup import WarmUpMode
from workloads import storage
from workloads.errors import BadInput
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.engines.invented import Attempt
from workloads.serve.errors import Invalid
from workloads.serve.protocol.tensors import from_json
from workloads.serve.settings import WarmUpChoice
from workloads.serve.signature import Signature, Tensor


def read_given(asked: WarmUpChoice, signature: Signature) -> Attempt | None:
    """Input for the warm-up that the user gives; None where nothing is given.

    BadInput in words for a file or a shape that is not this model's.
    """
    if asked.mode is WarmUpMode.NONE or (asked.uri is None and not asked.shapes):
        return None
    tensors = signature.by_name
    unknown = [name for name in asked.shapes if name not in tensors]
    if unknown:
        raise BadInput(f"warmUp.shapes: the model has no input {unknown[0]!r}, it takes {_names(signature)}")
    for name, shape in asked.shapes.items():
        _require(f"warmUp.shapes of {name!r}", shape, tensors[name])
    rows = {} if asked.uri is None else _rows(asked.uri, signature)
    return Attempt(shapes=dict(asked.shapes), rows=rows)


def _names(signature: Signature) -> str:
    return ", ".join(map(repr, signature.by_name))


def _require(what: str, shape: tuple[int, ...], tensor: Tensor) -> None:
    fits = len(shape) == len(tensor.axes) and all(
        isinstance(axis, str) or axis == length for axis, length in zip(tensor.axes, shape, strict=True)
    )
    if not fits:
        raise BadInput(f"{what}: {list(shape)}, the model takes {list(tensor.axes)}")


def _rows(uri: str, signature: Signature) -> dict[str, Array]:
    path = storage.fetch(uri)
    found = _from_json(path, signature) if path.suffix == ".json" else _from_npz(path, signature)
    missing = [name for name in signature.by_name if name not in found]
    if missing:
        raise BadInput(f"{uri}: there is no input {missing[0]!r} in it; the model takes {_names(signature)}")
    for name, array in found.items():
        _require(f"{uri}: {name!r} has the shape", array.shape, signature.by_name[name])
    return found


def _from_npz(path: Path, signature: Signature) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {
                name: _typed(archive[name], tensor) for name, tensor in signature.by_name.items() if name in archive
            }
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise BadInput(f"{path.name}: neither a .json request nor an .npz file of plain arrays ({error})") from error


def _typed(array: Array, tensor: Tensor) -> Array:
    """Texts are numpy's own in the file, and bytes on their way."""
    if tensor.datatype is Datatype.BYTES:
        encoded = [text if isinstance(text, bytes) else str(text).encode() for text in array.reshape(-1).tolist()]
        result = np.empty(len(encoded), dtype=object)
        result[:] = encoded
        return result.reshape(array.shape)
    if array.dtype != tensor.datatype.dtype:
        raise BadInput(f"warmUp.uri: {tensor.name!r} is {array.dtype}, the model takes {tensor.datatype.name}")
    return array


def _from_json(path: Path, signature: Signature) -> dict[str, Array]:
    """The body of an inference request."""
    try:
        document: Any = orjson.loads(path.read_bytes())
        given = {one["name"]: one for one in document["inputs"]}
        return {
            name: from_json(name, one["data"], signature.by_name[name].datatype, one["shape"])
            for name, one in given.items()
            if name in signature.by_name
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, Invalid) as error:
        raise BadInput(f"{path.name}: not an inference request of the protocol ({error})") from error
