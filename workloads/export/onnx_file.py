"""Is this an ONNX model that may be opened, and what goes in and out of it?

Asked of every model that comes from outside.

External data is followed only inside the model's own folder: a model that names /etc/passwd as its weights is refused.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workloads import onnx_data
from workloads.errors import BadInput

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 13  # per-axis QuantizeLinear came with it


@dataclass(frozen=True)
class Port:
    """An input or output. An axis is a length, or None where it may differ; `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def load(path: Path, listed: Collection[str] | None = None) -> "onnx.ModelProto":
    """The whole model, checked. BadInput says in words what is wrong with it. `listed`: the artifact's files."""
    import onnx

    model = onnx_data.parse(path)
    onnx_data.data_files(path, model, listed)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise BadInput(f"{path.name}: not a valid ONNX model ({str(error).strip().splitlines()[0]})") from error
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise BadInput(f"{path.name}: opset {opset}, per-channel quantization came with {OLDEST_OPSET}: convert it")
    return model


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
