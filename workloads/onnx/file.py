"""Checks of an ONNX model before it is opened, and its inputs and outputs.

Asked of every model that comes from outside.

External data is followed only inside the model's own folder: a model that names /etc/passwd as its weights is refused.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput
from workloads.onnx import external_data, model_files

if TYPE_CHECKING:
    import onnx

NO_TENSOR = "unknown"  # dtype of a port that is a sequence, a map or optional
STRING = "string"  # dtype of a port of texts, which numpy has as objects
ONE_MESSAGE = (1 << 31) - (64 << 20)  # bytes: protobuf's limit, and room for the graph


@dataclass(frozen=True)
class Port:
    """An input or output. An axis is a length, or None where it may differ; `dtype` is numpy's name, or STRING.

    `axes` are the exporter's names of the axes, empty for those that have none.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    axes: tuple[str, ...] = field(default=(), compare=False)


def load(path: Path, listed: Collection[str] | None = None, *, own: bool = False) -> "onnx.ModelProto":
    """The whole model, checked. BadInput says in words what is wrong with it. `listed`: the artifact's files.

    Over 2 GB, and wherever a file of our `own` has external data, large constants stay in files: external_data.py.
    """
    import onnx

    model = model_files.parse(path)
    data = model_files.data_files(path, model, listed)
    size = path.stat().st_size + sum((path.parent / name).stat().st_size for name in data)
    try:
        if data and (own or size > ONE_MESSAGE):
            external_data.hold(model, path.parent)
        else:
            onnx.load_external_data_for_model(model, str(path.parent))
        # By path: a model of more than 2 GB cannot be checked in memory.
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        if not _runs(model, path):
            raise BadInput(f"{path.name}: not a valid ONNX model ({str(error).strip().splitlines()[0]})") from error
    return _with_output_shapes(model)


def _runs(model: "onnx.ModelProto", path: Path) -> bool:
    """Tell whether ONNX Runtime takes a model that the checker refuses.

    The checker refuses an output without a shape, say, or a custom attribute.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # In memory where it fits: from a path, ONNX Runtime does not find the external data of some graphs with bodies.
    given: bytes | str = str(path) if external_data.held(model) else model.SerializeToString()
    try:
        onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception:  # the library raises a dozen unrelated types; the checker's words are told
        return False
    return True


def _with_output_shapes(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Infer the shapes of outputs that an exporter left without one, where that can be done."""
    import onnx

    bare = {value.name for value in model.graph.output if not value.type.tensor_type.HasField("shape")}
    if not bare:
        return model
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):  # over 2 GB, or a graph that it does not understand
        return model
    known = {value.name: value for value in inferred.graph.output if value.type.tensor_type.HasField("shape")}
    for value in model.graph.output:
        if value.name in bare and value.name in known:
            value.CopyFrom(known[value.name])
    return model


def opset_of(model: "onnx.ModelProto") -> int:
    """Version of ONNX's own operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def inputs_of(model: "onnx.ModelProto") -> list[Port]:
    """Inputs that a caller must give; constants that are listed as inputs are left out."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [_port(value) for value in model.graph.input if value.name not in constants]


def outputs_of(model: "onnx.ModelProto") -> list[Port]:
    """Outputs that a caller gets."""
    return [_port(value) for value in model.graph.output]


def fixed_batch(model: "onnx.ModelProto") -> int | None:
    """The batch length that is burnt into the graph, or None when any length goes."""
    lengths = {port.shape[0] for port in inputs_of(model) if port.shape}
    return next((length for length in lengths if length is not None), None)


def _port(value: "onnx.ValueInfoProto") -> Port:
    tensor = value.type.tensor_type
    dtype = _dtype(value.name, tensor.elem_type) if tensor.elem_type else NO_TENSOR
    lengths = tuple(_length(axis) for axis in tensor.shape.dim)
    return Port(value.name, dtype, lengths, tuple(axis.dim_param for axis in tensor.shape.dim))


def _dtype(name: str, kind: int) -> str:
    """Name of a tensor's type. BadInput for a number that this version of ONNX has no type for."""
    import onnx

    if kind == onnx.TensorProto.STRING:
        return STRING
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        raise BadInput(f"{name[:200]} is of type {kind}, which onnx {onnx.__version__} does not know") from None


def _length(axis: Any) -> int | None:
    """Length of an axis, None for a free one; exporters have written `-1` and `0` for that, too."""
    return axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else None


def save(model: "onnx.ModelProto | bytes", path: Path) -> None:
    """Write it whole or not at all, the same bytes for the same model; in one file unless it is held in several."""
    if not isinstance(model, bytes) and external_data.held(model):
        external_data.save(model, path)
        return
    staged = path.with_name(f".{path.name}.partial")
    staged.write_bytes(model if isinstance(model, bytes) else model.SerializeToString(deterministic=True))
    staged.rename(path)


def size_of(path: Path) -> int:
    """Bytes of a model that `save` wrote, its constants in another file included."""
    return path.stat().st_size + sum(data.stat().st_size for data in external_data.data_of(path))
