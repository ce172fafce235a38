"""Settings of `python -m workloads quantize`: model, data, weights, training, benchmark.

The same models check the job in the cluster and on a laptop.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.sources import DatasetChoice
from slipway.api.common.types import MAX_INT32, Digest, ObjectName, Uri
from slipway.api.quantization.evaluation import ONE_SOURCE


class SourceJob(Model):
    """The job whose artifact is quantized: waited for, and pinned by digest."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.trainingJob) != has(self.searchJob)",
            "set exactly one of trainingJob, searchJob",
            lambda source: (source.training_job is None) != (source.search_job is None),
        ),
    )
    training_job: ObjectName | None = Field(None, description="A TrainingJob of this namespace.")
    search_job: ObjectName | None = Field(None, description="A SearchJob of this namespace, whose best trial it is.")

    @property
    def named(self) -> tuple[str, str]:
        """Kind and name of the job."""
        if self.search_job is not None:
            return "SearchJob", self.search_job
        return "TrainingJob", self.training_job or ""


class SourceModel(Model):
    """Source of the float model."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.from) != has(self.uri)",
            "set exactly one of from (a job's artifact) and uri (an artifact's folder or an .onnx file)",
            lambda model: (model.from_ is None) != (model.uri is None),
        ),
        Rule(
            "!has(self.digest) || has(self.uri)",
            "digest pins a uri; an artifact taken from a job is pinned by itself",
            lambda model: model.digest is None or model.uri is not None,
        ),
        *uris.model(),
    )
    from_: SourceJob | None = Field(None, alias="from", description="A job of this namespace.")
    uri: Uri | None = Field(None, description="An artifact's folder, or an .onnx file; for example pvc://claim/path.")
    digest: Digest | None = Field(
        None, description="Refuse anything else: sha256 of artifact.json, or of the .onnx file."
    )


class CalibrationMethod(StrEnum):
    """Method that chooses a tensor's range from the values that were seen of it."""

    MIN_MAX = "min-max"
    MOVING_AVERAGE = "moving-average"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


METHODS = (CalibrationMethod.MIN_MAX, CalibrationMethod.PERCENTILE, CalibrationMethod.ENTROPY, CalibrationMethod.MSE)


class Calibration(Model):
    """Unlabelled samples that show which values the model's tensors take."""

    cel: ClassVar[tuple[Rule, ...]] = (ONE_SOURCE, *uris.read())
    dataset: DatasetChoice | None = Field(
        None, description="Training images of a data set; its held-out ones are never used."
    )
    uri: Uri | None = Field(
        None, description="An .npz file, or a folder of them, one per batch: an array for each of the model's inputs."
    )
    samples: Annotated[int, Field(ge=1, le=1048576)] = Field(512, description="How many are used, chosen by the seed.")
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(
        16, description="Samples whose extremes count as one for moving-average; memory is bounded otherwise."
    )
    methods: Annotated[
        list[CalibrationMethod], Field(min_length=1, max_length=5, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default_factory=lambda: list(METHODS), description="Each is a candidate; one pass over the data serves all."
    )
    percentile: Annotated[float, Field(ge=50, le=100)] = Field(
        99.99, description="Share of values kept by `percentile`."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(0, description="Of the choice of samples.")


class Exclusions(Model):
    """Operators and nodes that stay float in every candidate, beside what the sensitivity analysis finds."""

    op_types: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=64)] = Field(
        default_factory=list, description="ONNX operators, such as Softmax."
    )
    nodes: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=256)] = Field(
        default_factory=list, description="Names of nodes; * stands for any characters."
    )


WHOLE_BITS = 8


class Weights(Model):
    """Quantization of the weights, by static rungs and QAT always symmetric; and of language models' matrices."""

    bits: Annotated[int, Field(ge=2, le=WHOLE_BITS)] = Field(
        WHOLE_BITS, description="Fewer than 8 are stored as int8: the accuracy of the narrow type, not its size."
    )
    group_size: Annotated[int, Field(ge=8, le=4096)] | None = Field(
        None, description="Language models: weights that share a scale; 64 when unset."
    )
    symmetric: bool | None = Field(
        None,
        description="Language models: no zero beside the scale, as vLLM's fastest kernels have it; false if unset.",
    )


class Granularity(StrEnum):
    """Part of the model that the sensitivity analysis quantizes alone."""

    NODE = "node"
    OP_TYPE = "op-type"


class SensitivityMetric(StrEnum):
    """Measure of the harm that quantizing one part does."""

    SQNR = "sqnr"
    TASK = "task"


class Sensitivity(Model):
    """Search for the parts that suffer most when they alone are quantized; the worst stay float in mixed-precision."""

    granularity: Granularity = Field(
        Granularity.NODE, description="Single nodes, or all nodes of an operator together."
    )
    metric: SensitivityMetric = Field(
        SensitivityMetric.SQNR, description="sqnr: noise in the outputs, needs no labels. task: evaluation's metric."
    )
    samples: Annotated[int, Field(ge=1, le=1048576)] = Field(128, description="Samples per measurement.")
    max_exclusions: Annotated[int, Field(ge=1, le=10000)] = Field(64, description="At most so many stay float.")


class Qat(Model):
    """Training with quantization simulated in the forward pass; needs an artifact with weights, and a data set."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Passes over calibration.dataset's training images."
    )
    batch_size: Annotated[int, Field(ge=2, le=65536)] = Field(64, description="Images per optimizer step.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        0.0005, description="Of AdamW at the start; falls to zero along a cosine."
    )
    distillation: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Share of the loss that asks for the float model's answers instead of the labels."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(0, description="Of shuffling and augmentation.")


class OnFailure(StrEnum):
    """Policy for a job of which no candidate passes."""

    KEEP_FLOAT = "keep-float"
    FAIL = "fail"


BatchSizes = Annotated[
    list[Annotated[int, Field(ge=1, le=65536)]],
    Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}),
]


class Benchmark(Model):
    """Latency, throughput and memory of the float model and the selected candidate, measured in turns."""

    batch_sizes: BatchSizes = Field(default_factory=lambda: [1, 8], description="Each is measured.")
    iterations: Annotated[int, Field(ge=10, le=100000)] = Field(100, description="Timed calls of each model.")
    warmup: Annotated[int, Field(ge=0, le=10000)] = Field(10, description="Calls before the clock starts.")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Of the runtime, within one operator.")
