"""Evaluation of a quantized model: held-out samples, and how its answers are compared."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.sources import Callable, DatasetChoice, DatasetName
from slipway.api.common.types import MAX_INT32, Uri

ONE_SOURCE = Rule(
    "has(self.dataset) != has(self.uri)",
    "set exactly one of dataset (a built-in loader) and uri (.npz files with the model's inputs)",
    lambda data: (data.dataset is None) != (data.uri is None),
)

BOXED = [DatasetName.SHAPES.value, DatasetName.YOLO_FOLDER.value]


class EvaluationMetric(StrEnum):
    """Metric that compares the quantized model with the float model."""

    TOP1 = "top-1"
    AGREEMENT = "agreement"
    LABELS = "labels"
    PRECISION50 = "average-precision-50"


class EvaluationTask(StrEnum):
    """Kind of the model's answers: decides how two of them are compared."""

    CLASSIFICATION = "classification"
    BINARY = "binary"
    MULTI_LABEL = "multi-label"
    REGRESSION = "regression"
    EMBEDDING = "embedding"
    TAGGING = "tagging"
    SEGMENTATION = "segmentation"
    IMAGE = "image"
    SEQUENCE = "sequence"
    CLOSENESS = "closeness"
    CUSTOM = "custom"


def metric_for(dataset: DatasetName) -> EvaluationMetric:
    """The metric that the labels of a data set of ours are for."""
    return EvaluationMetric.PRECISION50 if dataset in BOXED else EvaluationMetric.TOP1


class ChoiceTask(Model):
    """Questions with answers to choose from, for language models: the likeliest answer is the model's choice."""

    cel: ClassVar[tuple[Rule, ...]] = uris.read()
    name: Annotated[str, Field(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="In report and messages."
    )
    uri: Uri = Field(description="JSON lines or Parquet of question, choices and answer (number, letter or text).")
    samples: Annotated[int, Field(ge=2, le=MAX_INT32)] | None = Field(
        None, description="The first so many; all when unset."
    )


class Evaluation(Model):
    """Held-out samples on which float and quantized model are compared."""

    cel: ClassVar[tuple[Rule, ...]] = (
        ONE_SOURCE,
        *uris.read(),
        Rule(
            "!has(self.dataset) || self.dataset.name == 'custom' || "
            f"(self.dataset.name in {BOXED}) == (self.metric == 'average-precision-50')",
            f"metric average-precision-50 is for data sets with boxes, {' and '.join(BOXED)}, and they for no other",
            lambda data: (
                data.dataset is None
                or data.dataset.name is DatasetName.CUSTOM
                or (data.dataset.name in BOXED) == (data.metric is EvaluationMetric.PRECISION50)
            ),
        ),
        Rule(
            "!has(self.task) || self.task == 'classification' || self.metric in ['agreement', 'labels']",
            "task is for metric agreement or labels; top-1 is for classes, and average-precision-50 for boxes",
            lambda data: (
                data.task in {None, EvaluationTask.CLASSIFICATION}
                or data.metric in {EvaluationMetric.AGREEMENT, EvaluationMetric.LABELS}
            ),
        ),
        Rule(
            "has(self.function) == (has(self.task) && self.task == 'custom')",
            "task custom needs function, and function is for task custom",
            lambda data: (data.function is not None) == (data.task is EvaluationTask.CUSTOM),
        ),
    )
    dataset: DatasetChoice | None = Field(None, description="Held-out images of a data set.")
    uri: Uri | None = Field(None, description="As for calibration, with an array `labels` of class numbers.")
    samples: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="The first so many; all when unset."
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(
        64, description="Samples per inference call, at most: memory may ask for fewer."
    )
    metric: EvaluationMetric = Field(
        EvaluationMetric.TOP1,
        description="top-1 needs class labels; labels compares with labels of the task's own kind; agreement compares "
        "the two models' answers and needs none; average-precision-50 is mAP@0.5 of detectors in YOLOv5's layout, and "
        "needs boxes: a data set of them, or an array `labels` [n, most, 5] of class, centre x and y, width and height "
        "in pixels, with class -1 where there is none.",
    )
    task: EvaluationTask | None = Field(
        None,
        description="How answers are compared with metric agreement and labels. Unset: as the artifact says, or as the "
        "graph ends (Softmax, Sigmoid, a normalised vector, one number); else closeness of the numbers.",
    )
    outputs: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = Field(
        default_factory=list, description="Names of the outputs that are judged; empty: the first, by closeness all."
    )
    blank: Annotated[int, Field(ge=-1, le=1_000_000)] = Field(
        0, description="sequence: number of the class that is no symbol (CTC's blank); -1 is the last one."
    )
    function: Callable | None = Field(
        None,
        description="custom: module:function of your own code, called with arrays `given` and `wanted` (the model's "
        "outputs, and labels or the float model's), to return a number from 0 to 1 for each sample.",
    )
    threshold: Annotated[float, Field(ge=-1e6, le=1e6)] | None = Field(
        None, description="Between no and yes, for binary and multi-label; 0.5 after a sigmoid, else 0."
    )
    tasks: (
        Annotated[
            list[ChoiceTask],
            Field(
                min_length=1,
                max_length=8,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = Field(None, description="Language models: questions whose right answers gates.tasks compares.")
