"""Tensors that go into a callable and those that must come out of it. Pure; asked on both sides of the socket."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.signature import Signature, Tensor

if TYPE_CHECKING:  # a worker does without them, and starts the sooner
    from slipway.api.serving.transform import TensorForm
    from workloads.serve.settings import TransformChoice

PREPROCESS, POSTPROCESS = "preprocess", "postprocess"
MOST_AXES = 32


class Unfit(Exception):  # noqa: N818  (it is the answer that is)
    """Error of a callable that gave something other than it should, in words."""


def served(choice: "TransformChoice", model: Signature) -> Signature:
    """Signature that clients see: own code's tensors where it names some, else the model's."""
    inputs = tuple(map(_tensor, choice.inputs)) or model.inputs
    outputs = tuple(map(_tensor, choice.outputs)) or model.outputs
    return Signature(inputs, outputs, False if choice.inputs else model.batched)


def _tensor(form: "TensorForm") -> Tensor:
    axes = tuple(length if length >= 0 else f"{form.name}_{place}" for place, length in enumerate(form.shape))
    return Tensor(form.name, Datatype[form.datatype.value], axes)


def described(tensors: Sequence[Tensor]) -> list[Any]:
    """JSON of tensors: name, datatype and axes of each."""
    return [[tensor.name, tensor.datatype.name, list(tensor.axes)] for tensor in tensors]


def tensors_of(said: Sequence[Any]) -> tuple[Tensor, ...]:
    """Tensors from the JSON of `told`."""
    return tuple(Tensor(name, Datatype[datatype], tuple(axes)) for name, datatype, axes in said)


def fitted(given: Any, tensors: Sequence[Tensor]) -> list[Array]:
    """Arrays in order, from a dict or, for one tensor, from its bare array. Unfit in words; nothing is converted but
    Python's own lists, numbers and texts.
    """
    if not isinstance(given, Mapping):
        if len(tensors) != 1:
            raise Unfit(f"gave {type(given).__name__}, not a dict of {', '.join(repr(one.name) for one in tensors)}")
        given = {tensors[0].name: given}
    names = {tensor.name for tensor in tensors}
    if set(given) != names:
        raise Unfit(f"gave {sorted(map(str, given))}, not {sorted(names)}")
    return [_array(given[tensor.name], tensor) for tensor in tensors]


def _array(value: Any, tensor: Tensor) -> Array:
    array = _texts(value, tensor) if tensor.datatype is Datatype.BYTES else _numbers(value, tensor)
    unfit = misshapen(array.shape, tensor)
    if unfit:
        raise Unfit(f"gave {unfit}")
    return array


def misshapen(shape: Sequence[int], tensor: Tensor) -> str:
    """Reason why a tensor cannot have this shape, or nothing."""
    fits = len(shape) == len(tensor.axes) and all(
        isinstance(axis, str) or axis == length for axis, length in zip(tensor.axes, shape, strict=True)
    )
    return "" if fits else f"{tensor.name!r} of shape {list(shape)}, not {tensor.shape}"


def _numbers(value: Any, tensor: Tensor) -> Array:
    kind = tensor.datatype.dtype
    if not isinstance(value, np.ndarray | np.generic) and not hasattr(value, "__array__"):
        if not isinstance(value, list | tuple | int | float | bool):
            raise Unfit(f"gave {tensor.name!r} as {type(value).__name__}, not as an array of {tensor.datatype.name}")
        try:
            return np.asarray(value, dtype=kind)
        except (ValueError, TypeError, OverflowError) as error:
            raise Unfit(f"gave {tensor.name!r} that is no array of {tensor.datatype.name}: {error}") from error
    array = np.asarray(value)
    if array.dtype.newbyteorder("<") != kind:
        raise Unfit(f"gave {tensor.name!r} of {array.dtype}, not {kind} ({tensor.datatype.name}): convert it by astype")
    return array


def _texts(value: Any, tensor: Tensor) -> Array:
    try:
        array = np.asarray(value, dtype=object)
    except ValueError as error:
        raise Unfit(f"gave {tensor.name!r} that is no array: {error}") from error
    elements = [one.encode() if isinstance(one, str) else one for one in array.reshape(-1)]
    if not all(isinstance(one, bytes) for one in elements):
        raise Unfit(f"gave {tensor.name!r} with elements that are neither str nor bytes")
    found = np.empty(len(elements), dtype=object)
    found[:] = elements
    return found.reshape(array.shape)


def check_said(said: Mapping[str, Any], size: int, tensors: Sequence[Tensor]) -> None:
    """ValueError where what a worker says of its answer cannot be: the callable may have written to the socket."""
    shapes, lengths = said["shapes"], said["lengths"]
    if len(shapes) != len(tensors) or len(lengths) != len(tensors) or sum(lengths) != size:
        raise ValueError("lengths that do not add up")
    for shape, length, tensor in zip(shapes, lengths, tensors, strict=True):
        if len(shape) > MOST_AXES or length < 0 or misshapen(shape, tensor) or any(axis < 0 for axis in shape):
            raise ValueError(f"{tensor.name!r} of shape {shape}")
        count = prod(shape)
        if count * 8 > length if tensor.datatype is Datatype.BYTES else count * tensor.datatype.itemsize != length:
            raise ValueError(f"{tensor.name!r} of {length} bytes")
