"""Choice of what is judged of a model's answers, and how: task, outputs and threshold, made once for the whole job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slipway.api.common.artifact import Task
from slipway.api.quantization.evaluation import Evaluation, EvaluationMetric, EvaluationTask
from workloads.errors import BadInput
from workloads.onnx import file
from workloads.quantize.evaluation import task
from workloads.quantize.evaluation.measures import Measure, measure_of

if TYPE_CHECKING:
    import onnx

SIGMOID_MIDDLE = 0.5
# Of artifacts whose answers are no class each.
OTHERS = {EvaluationTask.SEGMENTATION, EvaluationTask.MULTI_LABEL, EvaluationTask.REGRESSION}


@dataclass(frozen=True)
class JudgedOutputs:
    """Task, outputs and threshold by which a model is judged.

    `places`: numbers of the outputs that are compared; `assumed`: nobody said what the answers are for.
    """

    task: EvaluationTask
    places: tuple[int, ...]
    threshold: float
    assumed: bool
    blank: int = 0
    function: str = ""

    @property
    def measure(self) -> Measure:
        """Measure by which two answers are compared."""
        return measure_of(self.task, self.threshold, self.blank, self.function)

    @property
    def words(self) -> str:
        """The measure, for people."""
        return self.measure.words


def judged(
    model: "onnx.ModelProto",
    choice: Evaluation,
    artifact: Task | None,
    axes: "Mapping[str, int | None]" = MappingProxyType({}),
    *,
    whole: bool = False,
) -> JudgedOutputs:
    """Choose task, outputs and threshold by the job, else by the artifact, else by the graph.

    BadInput for an output that the model has not.

    `axes`: of the outputs by name, along which their samples lie; `whole`: a call is one sample, whatever its axes.
    """
    names = [value.name for value in model.graph.output]
    if unknown := sorted(set(choice.outputs) - set(names)):
        raise BadInput(f"evaluation.outputs: the model has no output {unknown[0]!r}; it has {', '.join(names)}")
    strings = [port.name for port in file.outputs_of(model) if port.dtype == file.STRING]
    asked = [names.index(name) for name in choice.outputs]
    first = next((place for place, name in enumerate(names) if name not in strings), None)
    if first is None or (named := sorted(set(choice.outputs) & set(strings))):
        raise BadInput(
            f"output {strings[0] if first is None else named[0]} holds strings, whose error nobody can measure: give "
            "the scores that they are chosen by as an output, too, and name it in evaluation.outputs"
        )
    found, assumed = _task(model, choice, artifact, names[asked[0] if asked else first], axes, whole=whole)
    places = asked or ([first] if found is not EvaluationTask.CLOSENESS else _numbers(model, axes, whole=whole))
    if not places:
        raise BadInput("no output of the model holds a row of numbers per sample: name others in evaluation.outputs")
    threshold = choice.threshold if choice.threshold is not None else _threshold(model, names[places[0]])
    return JudgedOutputs(found, tuple(places), threshold, assumed, choice.blank, choice.function or "")


def _task(
    model: "onnx.ModelProto",
    choice: Evaluation,
    artifact: Task | None,
    output: str,
    axes: "Mapping[str, int | None]",
    *,
    whole: bool,
) -> tuple[EvaluationTask, bool]:
    if choice.task is not None:
        return choice.task, False
    known = None if artifact is None else task.of_artifact(artifact)
    if choice.metric is EvaluationMetric.TOP1 and known in OTHERS:
        raise BadInput(
            f"metric top-1 is for classes, and the model's task is {artifact}: set evaluation.metric: labels"
        )
    if choice.metric in {EvaluationMetric.TOP1, EvaluationMetric.PRECISION50}:
        return EvaluationTask.CLASSIFICATION, False
    if known is not None:
        return known, False
    found = task.of_graph(model, output, whole=whole or axes.get(output, 0) is None)
    if choice.metric is EvaluationMetric.LABELS and found is EvaluationTask.CLOSENESS:
        raise BadInput("metric labels: the graph does not say what its answers are for: set evaluation.task")
    # Of several outputs only all together tell what a model does, unless the first is a decision; and a class number or
    # a count beside them tells less than they do.
    decides = found in {EvaluationTask.CLASSIFICATION, EvaluationTask.BINARY, EvaluationTask.MULTI_LABEL}
    whole_numbers = task.is_whole(model, output)
    least = 0 if whole_numbers else 1
    several = len(_numbers(model, axes, whole=whole)) > least and not choice.outputs
    return (EvaluationTask.CLOSENESS if several and not decides else found), True


def _numbers(model: "onnx.ModelProto", axes: "Mapping[str, int | None]", *, whole: bool) -> list[int]:
    """Outputs that are tensors of floats with an answer per sample."""
    from onnx import TensorProto

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
    batch = file.fixed_batch(model)
    ports = zip(model.graph.output, file.outputs_of(model), strict=True)
    return [
        place
        for place, (value, port) in enumerate(ports)
        if value.type.tensor_type.elem_type in floats
        and (whole or port.name in axes or not port.shape or port.shape[0] in {None, batch})
    ]


def _threshold(model: Any, output: str) -> float:
    return SIGMOID_MIDDLE if task.maker(model, output) in {"Sigmoid", "Softmax"} else 0.0


def remarks(found: JudgedOutputs, names: Sequence[str]) -> list[str]:
    """Remarks for people on a task that was assumed; none on one that was given."""
    if not found.assumed:
        return []
    which = ", ".join(names[place] for place in found.places)
    return [f"evaluation.task is not set: {which} judged as {found.task}, by {found.words}"]
