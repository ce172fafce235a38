"""A whole inference request in numpy, whichever way it came: checked against the signature, ready for the batcher."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.errors import Invalid
from workloads.serve.signature import Signature, Tensor

MICROSECONDS = 1_000_000
PLAIN = frozenset({str, int, float, bool})


@dataclass(slots=True)
class InferenceRequest:
    """`inputs` in the model's order. `outputs`: places in the model's results, and whether each is wanted as binary."""

    inputs: tuple[Array, ...]
    rows: int
    group: Hashable
    size: int
    outputs: tuple[tuple[int, bool], ...]
    id: str | None = None
    priority: int = 0
    timeout: float = 0.0
    # Of the texts in it, where they were read by another signature than the model's: see text/protocol.py.
    form: tuple[bool, int] | None = None


def input_tensor(signature: Signature, name: Any, datatype: Any, seen: Mapping[str, object]) -> Tensor:
    """The model's input that a request means. Invalid for an unknown or repeated name, or another type."""
    if type(name) is not str:
        raise Invalid("an input has no name")
    tensor = signature.by_name.get(name)
    if tensor is None:
        raise Invalid(f"the model has no input {name!r}: it takes {', '.join(map(repr, signature.by_name))}")
    if name in seen:
        raise Invalid(f"input {name!r} is given twice")
    if datatype != tensor.datatype.name:
        known = type(datatype) is str and datatype in Datatype.__members__
        words = f"has datatype {datatype}" if known else "has no datatype that the protocol knows"
        raise Invalid(f"input {name!r} {words}, the model takes {tensor.datatype.name}")
    return tensor


def in_order(signature: Signature, arrays: Mapping[str, Array]) -> tuple[tuple[Array, ...], int, Hashable, int]:
    """Inputs in the model's order, rows, what may share a batch, bytes. Invalid when one is missing or misshapen."""
    signature.check_names(arrays)
    inputs = tuple(arrays[tensor.name] for tensor in signature.inputs)
    rows, group = signature.check_shapes(tuple(array.shape for array in inputs))
    return inputs, rows, group, sum(map(_size, inputs))


def _size(array: Array) -> int:
    return sum(map(len, array.reshape(-1))) if array.dtype.kind == "O" else array.nbytes


def output_place(signature: Signature, name: Any, seen: Sequence[int]) -> int:
    """Place of a requested output in the model's results. Invalid for an unknown or repeated name."""
    place = signature.output_places.get(name) if type(name) is str else None
    if place is None:
        raise Invalid(f"the model has no output {name!r}: it gives {', '.join(map(repr, signature.output_places))}")
    if place in seen:
        raise Invalid(f"output {name!r} is asked for twice")
    return place


def check_parameters(parameters: Any, of: str) -> Mapping[str, Any]:
    """An object of strings, numbers and booleans; null, which many a library writes for what is not set, is not set."""
    if parameters is None:
        return {}
    if type(parameters) is dict and None in parameters.values():
        parameters = {name: value for name, value in parameters.items() if value is not None}
    if type(parameters) is not dict or not all(type(v) in PLAIN for v in parameters.values()):
        raise Invalid(f"{of}: parameters must be an object of strings, numbers and booleans")
    refuse_unknown_ways(parameters, of)
    return parameters


def refuse_unknown_ways(names: Collection[str], of: str) -> None:
    """Invalid for what changes where data lies or what comes back: to ignore it would be a wrong answer."""
    for name in names:
        if name.startswith("shared_memory_"):
            raise Invalid(f"{of}: parameter {name}: this server shares no memory with clients: send the data itself")
        if name == "classification":
            raise Invalid(f"{of}: parameter classification: this server does not have the classification extension")


def scheduling(parameters: Mapping[str, Any]) -> tuple[int, float]:
    """Priority and timeout in seconds, from Triton's parameters of these names; there timeouts are microseconds."""
    priority, timeout = parameters.get("priority", 0), parameters.get("timeout", 0)
    if type(priority) is not int or priority < 0:
        raise Invalid("parameter priority must be a whole number, 0 or more")
    if type(timeout) is not int or timeout < 0:
        raise Invalid("parameter timeout must be a whole number of microseconds, 0 or more")
    for name in ("sequence_id", "sequence_start", "sequence_end"):
        if parameters.get(name):
            raise Invalid(f"parameter {name}: this server has no stateful models")
    return priority, timeout / MICROSECONDS
