"""Is this an ONNX model that may be opened, and what goes in and out of it?

Asked of every model that comes from outside.

External data is followed only inside the model's own folder: a model that names /etc/passwd as its weights is refused.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput

if TYPE_CHECKING:
    import onnx

# How files begin that carry code: pickles (protocol 2 and later), and zip archives of them, which torch.save writes.
CODE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
EXTERNAL = 1  # onnx.TensorProto.EXTERNAL
OLDEST_OPSET = 13  # per-axis QuantizeLinear came with it


@dataclass(frozen=True)
class Port:
    """An input or output. An axis is a length, or None where it may differ; `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def load(path: Path) -> "onnx.ModelProto":
    """The whole model, checked. BadInput says in words what is wrong with it."""
    import onnx

    with path.open("rb") as stream:
        if stream.read(4).startswith(CODE):
            raise BadInput(
                f"{path.name}: a pickle or an archive of them can run code when it is opened: export to ONNX instead"
            )
    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            raise ValueError("no node")
    except Exception as error:  # protobuf's DecodeError has no base of its own
        raise BadInput(f"{path.name}: not an ONNX model ({error})") from error
    _require_data_inside(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise BadInput(f"{path.name}: not a valid ONNX model ({str(error).strip().splitlines()[0]})") from error
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise BadInput(f"{path.name}: opset {opset}, per-channel quantization came with {OLDEST_OPSET}: convert it")
    return model


def _require_data_inside(model: "onnx.ModelProto", path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in _tensors(model.graph):
        if tensor.data_location != EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        inside = PurePosixPath(location)
        if not location or inside.is_absolute() or ".." in inside.parts:
            raise BadInput(f"{path.name}: the data of {tensor.name} lies outside the model's folder ({location!r})")
        data = folder / inside
        if not os.path.realpath(data).startswith(f"{folder}{os.sep}"):
            raise BadInput(f"{path.name}: the data of {tensor.name} leaves the model's folder by a link ({location!r})")
        if not data.is_file():
            raise BadInput(f"{path.name}: the data of {tensor.name} is missing ({location!r})")


def _tensors(graph: Any) -> Any:
    """Every constant of a graph and its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for subgraph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _tensors(subgraph)


def opset_of(model: "onnx.ModelProto") -> int:
    """Version of ONNX's own operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def inputs_of(model: "onnx.ModelProto") -> list[Port]:
    """What a caller must give."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [_port(value) for value in model.graph.input if value.name not in constants]


def outputs_of(model: "onnx.ModelProto") -> list[Port]:
    """What a caller gets."""
    return [_port(value) for value in model.graph.output]


def fixed_batch(model: "onnx.ModelProto") -> int | None:
    """The batch length that is burnt into the graph, or None when any length goes."""
    lengths = {port.shape[0] for port in inputs_of(model) if port.shape}
    return next((length for length in lengths if length is not None), None)


def _port(value: "onnx.ValueInfoProto") -> Port:
    import onnx

    tensor = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else "unknown"
    return Port(
        value.name, dtype, tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
    )


def save(model: "onnx.ModelProto | bytes", path: Path) -> None:
    """Write it in one file, whole or not at all, the same bytes for the same model."""
    staged = path.with_name(f".{path.name}.partial")
    staged.write_bytes(model if isinstance(model, bytes) else model.SerializeToString(deterministic=True))
    staged.rename(path)
