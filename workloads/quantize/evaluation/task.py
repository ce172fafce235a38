"""Task of a model: what its answers are for, by the job, by the artifact, or by how its graph ends.

A graph does not say what a row of numbers is: scores before a softmax and an embedding look alike. So a decision is
read only where the graph makes one (Softmax, Sigmoid, a normalised vector); anything else is judged by closeness of the
numbers, which holds for all of them, and the report says that evaluation.task would judge decisions.
"""

from typing import Any

from slipway.api.common.artifact import Task
from slipway.api.quantization.evaluation import EvaluationTask
from workloads.onnx.feeds import counts_samples

# Nodes that only move numbers about between the last computation and an output.
PASSING = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "DequantizeLinear"})
OF_ARTIFACTS = {
    Task.IMAGE_CLASSIFICATION: EvaluationTask.CLASSIFICATION,
    Task.TEXT_CLASSIFICATION: EvaluationTask.CLASSIFICATION,
    Task.TEXT_GENERATION: EvaluationTask.TAGGING,
    Task.SEGMENTATION: EvaluationTask.SEGMENTATION,
    Task.MULTI_LABEL: EvaluationTask.MULTI_LABEL,
    Task.REGRESSION: EvaluationTask.REGRESSION,
}


def of_artifact(task: Task) -> EvaluationTask | None:
    """Task of a model that a recipe made, or None."""
    return OF_ARTIFACTS.get(task)


def of_graph(model: Any, output: str, *, whole: bool = False) -> EvaluationTask:
    """Task by the operator that makes an output, and by the output's axes. `whole`: a call is one sample."""
    value = next(each for each in model.graph.output if each.name == output)
    shape = value.type.tensor_type.shape.dim
    width = shape[-1].dim_value if len(shape) else 0
    rank = len(shape)
    if whole and not counts_samples([axis.dim_value or axis.dim_param for axis in shape]):
        rank += 1  # as if it had an axis for samples
    if is_whole(model, output):  # the graph has decided already: class numbers, one or several, or masks
        return EvaluationTask.TAGGING if rank <= 2 else EvaluationTask.SEGMENTATION
    last = maker(model, output)
    if last in {"Softmax", "LogSoftmax"}:
        return {2: EvaluationTask.CLASSIFICATION, 3: EvaluationTask.TAGGING, 4: EvaluationTask.SEGMENTATION}.get(
            rank, EvaluationTask.CLOSENESS
        )
    if last == "Sigmoid" and rank <= 2:
        return EvaluationTask.BINARY if rank < 2 or width == 1 else EvaluationTask.MULTI_LABEL
    if last in {"LpNormalization", "normalised"} and rank == 2:
        return EvaluationTask.EMBEDDING
    if rank <= 2 and (rank < 2 or width == 1):
        return EvaluationTask.REGRESSION
    return EvaluationTask.CLOSENESS


def is_whole(model: Any, output: str) -> bool:
    """Tell whether an output holds whole numbers or truth values, as behind an ArgMax or a comparison."""
    from onnx import TensorProto

    kinds = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
    value = next(each for each in model.graph.output if each.name == output)
    return value.type.tensor_type.elem_type in kinds


def maker(model: Any, name: str) -> str:
    """The operator behind an output; `normalised` for a division by a norm."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in PASSING and node.input:
        node = makers.get(node.input[0])
    if node is None:
        return ""
    if node.op_type == "Div" and len(node.input) == 2:
        below = makers.get(node.input[1])
        while below is not None and below.op_type in {*PASSING, "Clip", "Max", "Expand", "Sqrt", "Add"} and below.input:
            below = makers.get(below.input[0])
        if below is not None and below.op_type in {"ReduceL2", "ReduceSumSquare"}:
            return "normalised"
    return str(node.op_type)
