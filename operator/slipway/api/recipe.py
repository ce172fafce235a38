"""What `python -m workloads train` trains: model, data, optimizer, precision.

The same models check the job in the cluster and on a laptop.
"""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.base import Model, Rule
from slipway.api.common import MAX_INT32, Uri

# Data may come from anywhere; what is written needs a folder of its own.
_CLAIM = "pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
DATA_URI = f"^({_CLAIM}(/[^ ]*)?|file:///[^ ]*|(s3|gs|hf|https)://[^ ]+)$"
FOLDER_URI = f"^({_CLAIM}/|file:///|(s3|gs)://[^ /]+/)[^ /][^ ]*$"


class ModelName(StrEnum):
    """Models registered in workloads/models; `custom` is a function of the image's own code."""

    CNN = "cnn"
    RESNET18 = "resnet18"
    RESNET50 = "resnet50"
    MOBILENETV2 = "mobilenetv2"
    TEXT_CLASSIFIER = "text-classifier"
    GPT2 = "gpt2"
    GPT2_MEDIUM = "gpt2-medium"
    GPT2_LARGE = "gpt2-large"
    CUSTOM = "custom"


class DatasetName(StrEnum):
    """Data sets with real loaders, registered in workloads/data."""

    DIGITS = "digits"
    FASHION_MNIST = "fashion-mnist"
    CIFAR10 = "cifar10"
    IMAGE_FOLDER = "image-folder"
    TEXT_FILES = "text-files"
    TEXT_TABLE = "text-table"
    HUGGING_FACE = "hugging-face"
    SYNTHETIC = "synthetic"
    CUSTOM = "custom"


class OptimizerName(StrEnum):
    """torch.optim's names."""

    SGD = "sgd"
    ADAMW = "adamw"


class ScheduleName(StrEnum):
    """How the learning rate moves after its linear warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"


class Compression(StrEnum):
    """How gradients travel between processes."""

    NONE = "none"
    FP16 = "fp16"


class Precision(StrEnum):
    """The dtype of the forward and backward pass; fp16 uses a GradScaler and needs CUDA."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


# A function of the user's own code, as entry points write it: `package.module:function`.
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
Callable = Annotated[str, Field(min_length=3, max_length=256, pattern=f"^{_NAME}([.]{_NAME})*:{_NAME}$")]
ArgumentName = Annotated[str, Field(pattern=f"^{_NAME}$", max_length=64)]
Arguments = Annotated[dict[ArgumentName, Annotated[str, Field(max_length=1024)]], Field(max_length=16)]
_ARGUMENT_NAMES = Rule(
    f"!has(self.arguments) || self.arguments.all(k, size(k) <= 64 && k.matches('^{_NAME}$'))",
    "names of arguments are Python's identifiers",
)

# What is read: data and weights.
_READ: tuple[Rule, ...] = (
    Rule(
        f"!has(self.uri) || self.uri.matches('{DATA_URI}')",
        "uri is pvc://claim/path, s3://, gs://, https://, hf://owner/name@revision or file:///path",
        lambda source: source.uri is None or re.fullmatch(DATA_URI, source.uri) is not None,
    ),
    Rule(
        "!has(self.uri) || !self.uri.startsWith('hf://') || self.uri.contains('@')",
        "pin the revision, hf://owner/name@revision, so that the same job reads the same data",
        lambda source: source.uri is None or not source.uri.startswith("hf://") or "@" in source.uri,
    ),
    Rule(
        "!has(self.uri) || !self.uri.contains('..')",
        "uri must not contain '..': write the path out",
        lambda source: ".." not in (source.uri or ""),
    ),
)


def _own_code(field: str) -> Rule:
    return Rule(
        "(self.name == 'custom') == has(self.callable)",
        f"callable belongs to {field} custom: set both or neither",
        lambda choice: (choice.name.value == "custom") == (choice.callable is not None),
    )


def _taken_by(field: str, *names: str) -> Rule:
    """A map that other choices would not look at."""
    return Rule(
        f"self.name in {list(names)} || !has(self.{field}) || self.{field} == {{}}",
        f"{field} are for {' and '.join(names)}: remove them",
        lambda choice: not getattr(choice, field) or choice.name.value in names,
    )


class ModelChoice(Model):
    """Which model; its channels, classes and vocabulary follow from the data."""

    cel: ClassVar[tuple[Rule, ...]] = (
        _own_code("model"),
        _ARGUMENT_NAMES,
        Rule(
            "self.name == 'cnn' || !has(self.width)",
            "width is for cnn: remove it",
            lambda model: model.width is None or model.name is ModelName.CNN,
        ),
        Rule(
            "self.name.matches('^(gpt2|text)') || !(has(self.layers) || has(self.hiddenSize) || has(self.heads))",
            "layers, hiddenSize and heads are for transformers: remove them",
            lambda model: (
                model.name.value.startswith(("gpt2", "text"))
                or (model.layers, model.hidden_size, model.heads) == (None, None, None)
            ),
        ),
        _taken_by("arguments", "custom"),
        *_READ,
    )
    name: ModelName = Field(description="A model of the built-in trainer, or custom.")
    width: Annotated[int, Field(ge=4, le=1024)] | None = Field(
        None, description="cnn: channels of its first layer; 32 when unset."
    )
    layers: Annotated[int, Field(ge=1, le=512)] | None = Field(
        None, description="Transformers: how many; as in the published model when unset."
    )
    hidden_size: Annotated[int, Field(ge=8, le=65536)] | None = Field(
        None, description="Transformers: the width of a layer; as in the published model when unset."
    )
    heads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Transformers: attention heads; divides hiddenSize."
    )
    uri: Uri | None = Field(None, description="Weights to begin with: an artifact, .safetensors, or a state dict.")
    callable: Callable | None = Field(
        None, description="custom: module:function of your own code, called with what is known of the data."
    )
    arguments: Arguments = Field(default_factory=dict, description="custom: more arguments, as JSON or plain words.")


_NO_PATH = ("digits", "fashion-mnist", "synthetic", "custom")


class DatasetChoice(Model):
    """Which data. `digits` comes with scikit-learn; the others are read from `uri`."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.name in {list(_NO_PATH)} || has(self.uri)",
            "this data set is read from a path: set uri",
            lambda data: data.name.value in _NO_PATH or data.uri is not None,
        ),
        Rule(
            "self.name != 'digits' && self.name != 'synthetic' || !has(self.uri)",
            "this data set has no uri: remove it",
            lambda data: data.uri is None or data.name not in {DatasetName.DIGITS, DatasetName.SYNTHETIC},
        ),
        Rule(
            "self.name.matches('^(text|hugging)') || !has(self.tokenizer)",
            "tokenizer is for text: remove it",
            lambda data: data.tokenizer is None or data.name.value.startswith(("text", "hugging")),
        ),
        _own_code("dataset"),
        _ARGUMENT_NAMES,
        _taken_by("arguments", "custom", "synthetic"),
        *_READ,
    )
    name: DatasetName = Field(description="A data set of the built-in trainer, or custom.")
    uri: Uri | None = Field(None, description="Where the data lies; `fashion-mnist` has Debian's path.")
    limit: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(None, description="Use only so many samples.")
    sequence_length: Annotated[int, Field(ge=2, le=131072)] = Field(128, description="Text: tokens of a sample.")
    tokenizer: Uri | None = Field(
        None, description="Text: tokenizer.json or its folder; bytes are the tokens when unset."
    )
    callable: Callable | None = Field(None, description="custom: module:function of your own code.")
    arguments: Arguments = Field(
        default_factory=dict, description="custom and synthetic: more arguments, as JSON or plain words."
    )


class Optimizer(Model):
    """The optimizer and its constants."""

    name: OptimizerName = Field(OptimizerName.SGD, description="torch.optim's class.")
    learning_rate: Annotated[float, Field(gt=0, le=100)] = Field(0.1, description="At its peak, after the warm-up.")
    base_batch_size: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        None, description="learningRate is for batches of this size; scaled to globalBatchSize."
    )
    momentum: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="Of sgd; beta1 of adamw.")
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(0.0, description="L2 for sgd, decoupled for adamw.")


class Schedule(Model):
    """The learning rate over the run."""

    name: ScheduleName = Field(ScheduleName.COSINE, description="Shape after the warm-up.")
    warmup_steps: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(0, description="Optimizer steps of linear warm-up.")
    step_epochs: Annotated[int, Field(ge=1, le=10000)] = Field(30, description="`step`: epochs between two cuts.")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="`step`: the factor of a cut.")


class Profile(Model):
    """A trace of torch.profiler in the artifact, for chrome://tracing or Perfetto."""

    first_step: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(10, description="Steps of the run before it begins.")
    steps: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="How many steps are traced.")


class Recipe(Model):
    """One training run of the built-in trainer."""

    model: ModelChoice = Field(description="What is trained.")
    dataset: DatasetChoice = Field(description="What it is trained on.")
    epochs: Annotated[int, Field(ge=1, le=10000)] = Field(10, description="Passes over the data.")
    global_batch_size: Annotated[int, Field(ge=1, le=1048576)] = Field(
        128, description="Samples per optimizer step; divides by processes x accumulation steps."
    )
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=4096)] = Field(
        1, description="Forward and backward passes per optimizer step."
    )
    gradient_clipping: Annotated[float, Field(gt=0, le=1000000)] | None = Field(
        None, description="Largest norm of the gradient; no clipping when unset."
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="The optimizer and its constants.")
    schedule: Schedule = Field(default_factory=Schedule, description="The learning rate over the run.")
    precision: Precision = Field(Precision.FP32, description="Of the forward and backward pass; fp16 needs a GPU.")
    compile: bool = Field(False, description="torch.compile; needs a C++ compiler in the image, and time at the start.")
    channels_last: bool = Field(False, description="Pictures with their channels innermost: faster convolutions.")
    activation_checkpointing: bool = Field(
        False, description="Keep each block's input only and compute the rest anew: less memory."
    )
    gradient_compression: Compression = Field(
        Compression.NONE, description="fp16: half the bytes between processes; by DDP and Horovod."
    )
    profile: Profile | None = Field(None, description="Trace some steps with torch.profiler.")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Of the cross entropy.")
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(0, description="Of weights, shuffling and augmentation.")
    data_workers: Annotated[int, Field(ge=0, le=64)] = Field(0, description="Loader processes of each rank.")


# `checkpoint` and `output` are written: a volume's root cannot be renamed, and a web page cannot be written.
_FOLDER: tuple[Rule, ...] = (
    Rule(
        f"self.uri.matches('{FOLDER_URI}')",
        "uri must name a folder that can be written: pvc://claim/path, s3://bucket/path, gs://bucket/path or file:///path",
        lambda target: re.fullmatch(FOLDER_URI, target.uri) is not None,
    ),
    Rule(
        "!self.uri.contains('..')",
        "uri must not contain '..': write the path out",
        lambda target: ".." not in target.uri,
    ),
)


class Checkpoint(Model):
    """Where and how often the state is saved, so that a restart goes on where it was."""

    cel: ClassVar[tuple[Rule, ...]] = _FOLDER
    uri: Uri = Field(description="A folder for this job's checkpoints, for example pvc://claim/path.")
    every_steps: Annotated[int, Field(ge=1, le=MAX_INT32)] = Field(
        100, description="Optimizer steps between two saves."
    )
    keep_last: Annotated[int, Field(ge=1, le=1000)] = Field(2, description="How many checkpoints are kept.")
    keep_best: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="How many more are kept, of ends of epochs, those with the best held-out figures."
    )


class Output(Model):
    """Where the artifact goes: a directory, written under a temporary name and renamed when whole."""

    cel: ClassVar[tuple[Rule, ...]] = _FOLDER
    uri: Uri = Field(description="The artifact's folder, for example pvc://claim/path.")
