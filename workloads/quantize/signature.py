"""Signature and task of the artifact that a bare ONNX model becomes: asked for at first, and written at the end."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from slipway.api.common.artifact import DType, Signature, Task, TensorSpec
from slipway.api.quantization.evaluation import EvaluationMetric, EvaluationTask
from workloads.errors import BadInput
from workloads.onnx import file as onnx_file
from workloads.quantize.graph import axes

if TYPE_CHECKING:
    import onnx

PICTURE_AXES, PICTURE_CHANNELS = 4, {1, 3}


def signature_of(model: "onnx.ModelProto") -> Signature:
    """Signature of an ONNX model. BadInput, with the port's name, for what no artifact can describe."""
    return Signature(
        inputs=[_spec(port) for port in onnx_file.inputs_of(model)],
        outputs=[_spec(port) for port in onnx_file.outputs_of(model)],
    )


def _spec(port: onnx_file.Port) -> TensorSpec:
    """Tensor of a port; axes without a length keep the exporter's name."""
    names = [*port.axes, *[""] * len(port.shape)]
    shape = [axes.axis_name(names[index], index) if axis is None else axis for index, axis in enumerate(port.shape)]
    try:
        return TensorSpec(name=port.name, dtype=DType(port.dtype), shape=shape)
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    except ValueError:
        if port.dtype == onnx_file.NO_TENSOR:
            raise BadInput(
                f"{port.name[:200]} is no tensor but a sequence, a map or an optional value: export the model with "
                "tensors alone (skl2onnx: options={'zipmap': False})"
            ) from None
        if port.dtype.startswith("complex"):
            raise BadInput(
                f"{port.name[:200]} is {port.dtype}, which neither an artifact nor most kernels of ONNX "
                "Runtime know: export the model with an axis more of length 2, real and imaginary part"
            ) from None
        what = f"its type {port.dtype} has no name in an artifact; known are {', '.join(DType)}"
    raise BadInput(f"an artifact cannot describe {port.name[:200]!r}: {what}")


def task_of(model: "onnx.ModelProto", metric: EvaluationMetric, judged: EvaluationTask) -> Task:
    """Task under which a bare model is published: by how its answers were judged, `raw` where that does not tell."""
    if metric is EvaluationMetric.PRECISION50:
        return Task.OBJECT_DETECTION
    known = {
        EvaluationTask.EMBEDDING: Task.EMBEDDING,
        EvaluationTask.SEGMENTATION: Task.SEGMENTATION,
        EvaluationTask.MULTI_LABEL: Task.MULTI_LABEL,
    }
    if judged in known:
        return known[judged]
    return Task.IMAGE_CLASSIFICATION if judged is EvaluationTask.CLASSIFICATION and _pictures(model) else Task.RAW


def _pictures(model: "onnx.ModelProto") -> bool:
    ports = onnx_file.inputs_of(model)
    shape = ports[0].shape if len(ports) == 1 else ()
    return len(shape) == PICTURE_AXES and bool(PICTURE_CHANNELS & {shape[1], shape[3]})
