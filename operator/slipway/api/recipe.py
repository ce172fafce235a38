"""What `python -m workloads train` trains: model, data, optimizer, precision. The same models check the job in the cluster and on a laptop."""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from slipway.api.common import MAX_INT32, Model, Rule, Uri


class ModelName(StrEnum):
    """Models written in plain torch, registered in workloads/models."""

    CNN = "cnn"
    RESNET18 = "resnet18"
    RESNET50 = "resnet50"


class DatasetName(StrEnum):
    """Data sets with real loaders, registered in workloads/data."""

    DIGITS = "digits"
    FASHION_MNIST = "fashion-mnist"
    CIFAR10 = "cifar10"
    IMAGE_FOLDER = "image-folder"


class OptimizerName(StrEnum):
    """torch.optim's names."""

    SGD = "sgd"
    ADAMW = "adamw"


class ScheduleName(StrEnum):
    """How the learning rate moves after its linear warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"


class Precision(StrEnum):
    """The dtype of the forward and backward pass; fp16 uses a GradScaler and needs CUDA."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class ModelChoice(Model):
    """Which model; its channels and classes follow from the data."""

    name: ModelName
    width: Annotated[int, Field(ge=4, le=1024)] = Field(
        32, description="Channels of the CNN's first layer; ignored by the ResNets."
    )


class DatasetChoice(Model):
    """Which data. `digits` comes with scikit-learn; the others are read from `uri`."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.name in ['digits', 'fashion-mnist'] || has(self.uri)",
            "this data set is read from a path: set uri, for example pvc://claim/path",
        ),
    )
    name: DatasetName
    uri: Uri | None = Field(
        None,
        description="Where the data lies; `digits` needs none, `fashion-mnist` looks where Debian installs it when unset.",
    )
    limit: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="Use only so many training samples."
    )

    @model_validator(mode="after")
    def _located(self) -> Self:
        if self.name in {DatasetName.CIFAR10, DatasetName.IMAGE_FOLDER} and self.uri is None:
            raise ValueError("this data set is read from a path: set uri, for example pvc://claim/path")
        return self


class Optimizer(Model):
    """The optimizer and its constants."""

    name: OptimizerName = OptimizerName.SGD
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.1
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0


class Schedule(Model):
    """The learning rate over the run."""

    name: ScheduleName = ScheduleName.COSINE
    warmup_steps: Annotated[int, Field(ge=0, le=MAX_INT32)] = 0
    step_epochs: Annotated[int, Field(ge=1, le=10000)] = Field(30, description="`step`: epochs between two cuts.")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="`step`: the factor of a cut.")


class Recipe(Model):
    """One training run of the built-in trainer."""

    model: ModelChoice
    dataset: DatasetChoice
    epochs: Annotated[int, Field(ge=1, le=10000)] = 10
    global_batch_size: Annotated[int, Field(ge=1, le=1048576)] = Field(
        128,
        description="Samples per optimizer step over all processes; must divide by processes x gradientAccumulationSteps.",
    )
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=4096)] = 1
    gradient_clipping: Annotated[float, Field(gt=0, le=1000000)] | None = Field(
        None, description="Largest norm of the gradient."
    )
    optimizer: Optimizer = Field(default_factory=Optimizer)
    schedule: Schedule = Field(default_factory=Schedule)
    precision: Precision = Precision.FP32
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] = 0
    data_workers: Annotated[int, Field(ge=0, le=64)] = Field(0, description="Loader processes of each rank.")


class Checkpoint(Model):
    """Where and how often the state is saved, so that a restart goes on where it was."""

    uri: Uri
    every_steps: Annotated[int, Field(ge=1, le=MAX_INT32)] = 100
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 2


class Output(Model):
    """Where the artifact goes: a directory, written under a temporary name and renamed when whole."""

    uri: Uri
