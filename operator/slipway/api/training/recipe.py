"""Recipe of `python -m workloads train`: model, data, optimizer, precision.

The same models check the job in the cluster and on a laptop.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.sources import DatasetChoice, ModelChoice
from slipway.api.common.types import MAX_INT32, Uri
from slipway.api.training.compression import (
    GATE_FITS,
    OWN_TEACHER,
    SPARSE_LAST,
    CompressionGate,
    Distillation,
    Steps,
)
from slipway.api.training.fine_tuning.peft import RULES as PEFT_RULES
from slipway.api.training.fine_tuning.peft import Merge, Peft
from slipway.api.training.fine_tuning.preference import PREFERENCE_NEEDS_PAIRS, Preference
from slipway.api.training.learning.optimizer import Average, EarlyStopping, Optimizer, Schedule
from slipway.api.training.learning.task import RULES as TASK_RULES
from slipway.api.training.learning.task import TrainingTask
from slipway.api.training.parallel import TOGETHER


class Compression(StrEnum):
    """Compression of gradients between processes."""

    NONE = "none"
    FP16 = "fp16"


class Precision(StrEnum):
    """The dtype of the forward and backward pass; fp16 uses a GradScaler and needs CUDA."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Profile(Model):
    """A trace of torch.profiler in the artifact, for chrome://tracing or Perfetto."""

    first_step: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(10, description="Steps of the run before it begins.")
    steps: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="How many steps are traced.")


MixAlpha = Annotated[float, Field(gt=0, le=100)]
Label = Annotated[str, Field(min_length=1, max_length=256)]
ClassWeights = Annotated[dict[Label, Annotated[float, Field(ge=0, le=1000000)]], Field(min_length=1, max_length=1024)]


class Augmentation(Model):
    """Random changes of training pictures. What is unset is as the data set has it by itself."""

    mirror: bool | None = Field(
        None,
        description="Left for right, one in two. Off by itself for folders: a class may be another's mirror image.",
    )
    shift: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        None, description="Up, down, left and right, by up to this share of the height; not of pictures with boxes."
    )
    scale: Annotated[float, Field(ge=0, le=0.9)] | None = Field(
        None, description="Larger or smaller by up to this share; of pictures with boxes only."
    )
    mixup: MixAlpha | None = Field(None, description="Alpha of mixup: two pictures of a class each become one of both.")
    cutmix: MixAlpha | None = Field(None, description="Alpha of cutmix: a box of another picture is pasted in.")


ONE_WEIGHTING = Rule(
    "!has(self.classWeights) || !has(self.balanceClasses) || !self.balanceClasses",
    "balanceClasses and classWeights are two ways to weigh classes: remove one of them",
    lambda recipe: not (recipe.class_weights and recipe.balance_classes),
)


class Recipe(Model):
    """One training run of the built-in trainer."""

    cel: ClassVar[tuple[Rule, ...]] = (
        SPARSE_LAST,
        OWN_TEACHER,
        GATE_FITS,
        ONE_WEIGHTING,
        *TASK_RULES,
        *TOGETHER,
        *PEFT_RULES,
        PREFERENCE_NEEDS_PAIRS,
    )
    model: ModelChoice = Field(description="What is trained.")
    dataset: DatasetChoice = Field(description="What it is trained on.")
    task: TrainingTask | None = Field(
        None, description="regression, multi-label or segmentation, where the data does not say it by its form."
    )
    epochs: Annotated[int, Field(ge=1, le=10000)] = Field(10, description="Passes over the data.")
    max_steps: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="End after so many optimizer steps, also inside an epoch."
    )
    evaluate_every_steps: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="Evaluate on held-out data also after so many steps each; at the ends of epochs in any case."
    )
    global_batch_size: Annotated[int, Field(ge=1, le=1048576)] = Field(
        128, description="Samples per optimizer step; divides by processes x accumulation steps; see tensorParallel."
    )
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=4096)] = Field(
        1, description="Forward and backward passes per optimizer step."
    )
    evaluation_batch_size: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        None, description="Samples that a process evaluates at a time; as many as in a training pass when unset."
    )
    gradient_clipping: Annotated[float, Field(gt=0, le=1000000)] | None = Field(
        None, description="Largest norm of the gradient; no clipping when unset."
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="The optimizer and its constants.")
    schedule: Schedule = Field(default_factory=Schedule, description="The learning rate over the run.")
    ema: Average | None = Field(
        None, description="Evaluate and publish a moving average of the weights; in processes that hold all of them."
    )
    early_stopping: EarlyStopping | None = Field(None, description="End when the held-out figures get no better.")
    precision: Precision = Field(Precision.FP32, description="Of the forward and backward pass; fp16 needs a GPU.")
    compile: bool = Field(False, description="torch.compile; needs a C++ compiler in the image, and time at the start.")
    channels_last: bool = Field(False, description="Pictures with their channels innermost: faster convolutions.")
    activation_checkpointing: bool = Field(
        False, description="Keep each block's input only and compute the rest anew: less memory."
    )
    gradient_compression: Compression = Field(
        Compression.NONE, description="fp16: half the bytes between processes; by DDP and Horovod."
    )
    find_unused_parameters: bool = Field(
        False, description="DDP: look for parameters that a step does not use; for models with branches, and slower."
    )
    profile: Profile | None = Field(None, description="Trace some steps with torch.profiler.")
    compression: Steps | None = Field(
        None, description="What is taken away from the model, in this order, before it is trained; see model.uri."
    )
    distillation: Distillation | None = Field(None, description="Learn a teacher's answers beside the labels.")
    compression_gate: CompressionGate | None = Field(
        None,
        description="How much worse a model may get by compression (by 1 % when unset, where model.uri has weights to "
        "compare with) or be than its teacher (not judged when unset); else the job fails and publishes nothing.",
    )
    peft: Peft | None = Field(None, description="causal-lm: train low-rank adapters alone; all weights when unset.")
    preference: Preference | None = Field(
        None, description="causal-lm on pairs of answers: how the better one is learned; dpo with beta 0.1 when unset."
    )
    augmentation: Augmentation | None = Field(None, description="Random changes of training pictures.")
    rehearsal: bool = Field(
        True, description="Before the first step: evaluate a batch, write and load an artifact, look at some samples."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Of the cross entropy.")
    class_weights: ClassWeights | None = Field(
        None, description="Weights of classes in the loss, by label; 1 for a label that is not named."
    )
    balance_classes: bool | None = Field(
        None, description="Weigh each class by how rare it is among the training samples."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(0, description="Of weights, shuffling and augmentation.")
    data_workers: Annotated[int, Field(ge=0, le=64)] = Field(0, description="Loader processes of each rank.")
    tensor_parallel: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="So many processes hold a part of each layer of one GPT-2, and see the same samples."
    )
    pipeline_parallel: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="So many processes hold some layers each of one GPT-2; accumulation steps go through in turn."
    )

    @property
    def together(self) -> int:
        """Processes that hold one model between them and work on the same samples."""
        return self.tensor_parallel * self.pipeline_parallel


class Checkpoint(Model):
    """Checkpoints from which a restart goes on: where they are, how often one is saved, and how many are kept."""

    cel: ClassVar[tuple[Rule, ...]] = uris.on_disk(
        uris.LOCAL_URI,
        "checkpoint.uri must be a folder of a file system, pvc://claim/path or file:///path: object stores cannot "
        "rename what is whole; output.uri may be one",
    )
    uri: Uri = Field(description="A folder for this job's checkpoints, for example pvc://claim/path.")
    every_steps: Annotated[int, Field(ge=1, le=MAX_INT32)] = Field(
        100, description="Optimizer steps between two saves."
    )
    keep_last: Annotated[int, Field(ge=1, le=1000)] = Field(2, description="How many checkpoints are kept.")
    keep_best: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="How many more are kept, of ends of epochs, those with the best held-out figures."
    )


class Publish(StrEnum):
    """Weights that become the artifact."""

    BEST = "best"
    LAST = "last"


class Output(Model):
    """Destination of the artifact: a directory, written under a temporary name and renamed when whole."""

    cel: ClassVar[tuple[Rule, ...]] = uris.written()
    uri: Uri = Field(description="The artifact's folder, for example pvc://claim/path.")
    publish: Publish = Field(
        Publish.BEST, description="best: the weights of the best evaluation on held-out data. last: the last step's."
    )
    merge: Merge | None = Field(
        None,
        description="Of recipe.peft: adapter, merged, or both, the adapter then at uri with -adapter. Unset: adapter.",
    )
