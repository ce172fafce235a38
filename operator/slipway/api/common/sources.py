"""Sources of a job's model and data: built in by name, files by URI, or the user's own code."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.text.supervised import LOSS_FITS, ONLY_PACKED, ONLY_SFT, SupervisedText
from slipway.api.common.types import MAX_INT32, Digest, ObjectName, Uri


class ModelName(StrEnum):
    """Models registered in workloads/models, those of libraries by their names there, or a folder of Hugging Face's;
    `custom` is a function of the image's own code.
    """

    CNN = "cnn"
    RESNET18 = "resnet18"
    RESNET50 = "resnet50"
    MOBILENETV2 = "mobilenetv2"
    YOLO = "yolo"
    UNET = "unet"
    TEXT_CLASSIFIER = "text-classifier"
    GPT2 = "gpt2"
    GPT2_MEDIUM = "gpt2-medium"
    GPT2_LARGE = "gpt2-large"
    CAUSAL_LM = "causal-lm"
    TORCHVISION = "torchvision"
    TIMM = "timm"
    HUGGING_FACE = "hugging-face"
    CUSTOM = "custom"


class DatasetName(StrEnum):
    """Data sets with real loaders, registered in workloads/data."""

    DIGITS = "digits"
    FASHION_MNIST = "fashion-mnist"
    CIFAR10 = "cifar10"
    IMAGE_FOLDER = "image-folder"
    SHAPES = "shapes"
    YOLO_FOLDER = "yolo-folder"
    MASK_FOLDER = "mask-folder"
    TEXT_FILES = "text-files"
    TEXT_TABLE = "text-table"
    HUGGING_FACE = "hugging-face"
    SYNTHETIC = "synthetic"
    SFT = "sft"
    PREFERENCE = "preference"
    CUSTOM = "custom"


# A function of the user's own code, as entry points write it: `package.module:function`.
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
Callable = Annotated[str, Field(min_length=3, max_length=256, pattern=f"^{_NAME}([.]{_NAME})*:{_NAME}$")]
ArgumentName = Annotated[str, Field(pattern=f"^{_NAME}$", max_length=64)]
Arguments = Annotated[dict[ArgumentName, Annotated[str, Field(max_length=1024)]], Field(max_length=16)]

_ARGUMENT_NAMES = Rule(
    f"!has(self.arguments) || self.arguments.all(k, size(k) <= 64 && k.matches('^{_NAME}$'))",
    "names of arguments are Python's identifiers",
)


def _own_code(field: str) -> Rule:
    return Rule(
        "(self.name == 'custom') == has(self.callable)",
        f"callable belongs to {field} custom: set both or neither",
        lambda choice: (choice.name.value == "custom") == (choice.callable is not None),
    )


def _taken_by(field: str, *names: str) -> Rule:
    """Rule that refuses a map which other choices would not look at."""
    return Rule(
        f"self.name in {list(names)} || !has(self.{field}) || self.{field} == {{}}",
        f"{field} are for {' and '.join(names)}: remove them",
        lambda choice: not getattr(choice, field) or choice.name.value in names,
    )


class ModelFrom(Model):
    """The job whose model is tuned further: waited for, and pinned by digest."""

    training_job: ObjectName = Field(description="A TrainingJob of this namespace that publishes a causal-lm.")


class ModelChoice(Model):
    """Choice of the model; its channels, classes and vocabulary follow from the data."""

    cel: ClassVar[tuple[Rule, ...]] = (
        _own_code("model"),
        _ARGUMENT_NAMES,
        Rule(
            "self.name in ['cnn', 'yolo', 'unet'] || !has(self.width)",
            "width is for cnn, yolo and unet: remove it",
            lambda model: model.width is None or model.name in {ModelName.CNN, ModelName.YOLO, ModelName.UNET},
        ),
        Rule(
            "self.name.matches('^(gpt2|text)') || !(has(self.layers) || has(self.hiddenSize) || has(self.heads))",
            "layers, hiddenSize and heads are for transformers: remove them",
            lambda model: (
                model.name.value.startswith(("gpt2", "text"))
                or (model.layers, model.hidden_size, model.heads) == (None, None, None)
            ),
        ),
        _taken_by("arguments", "custom", "torchvision", "timm"),
        Rule(
            "self.name != 'causal-lm' || has(self.uri) || has(self.from)",
            "causal-lm is a model that is there already: set uri to its folder, or from to the job that makes it",
            lambda model: model.name is not ModelName.CAUSAL_LM or bool(model.uri or model.from_),
        ),
        Rule(
            "!has(self.from) || (self.name == 'causal-lm' && !has(self.uri))",
            "from is for causal-lm, in place of uri: remove one of them",
            lambda model: model.from_ is None or (model.name is ModelName.CAUSAL_LM and model.uri is None),
        ),
        Rule(
            "!has(self.digest) || (self.name == 'causal-lm' && has(self.uri))",
            "digest pins the uri of a causal-lm: remove it",
            lambda model: model.digest is None or (model.name is ModelName.CAUSAL_LM and model.uri is not None),
        ),
        Rule(
            "(self.name == 'torchvision' || self.name == 'timm') == has(self.architecture)",
            "architecture belongs to torchvision and timm: set it for them, and for them only",
            lambda model: (model.name in {ModelName.TORCHVISION, ModelName.TIMM}) == (model.architecture is not None),
        ),
        Rule(
            "self.name != 'hugging-face' || has(self.uri)",
            "hugging-face is a folder with config.json and safetensors: set uri",
            lambda model: model.name is not ModelName.HUGGING_FACE or model.uri is not None,
        ),
        *uris.read(),
    )
    name: ModelName = Field(description="A model of the built-in trainer, a library's, hugging-face, or custom.")
    architecture: Annotated[str, Field(min_length=1, max_length=128, pattern="^[A-Za-z0-9_.-]+$")] | None = Field(
        None, description="torchvision, timm: its name there, for example efficientnet_b0; nothing is downloaded."
    )
    width: Annotated[int, Field(ge=4, le=1024)] | None = Field(
        None, description="cnn, yolo, unet: channels of the first layer; 32, 16 and 16 when unset."
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
    uri: Uri | None = Field(
        None, description="Weights to begin with: an artifact, .safetensors, a state dict, or Hugging Face's folder."
    )
    from_: ModelFrom | None = Field(None, alias="from", description="causal-lm: the job whose model is tuned further.")
    digest: Digest | None = Field(None, description="causal-lm: refuse to begin with anything else.")
    callable: Callable | None = Field(
        None, description="custom: module:function of your own code, called with what is known of the data."
    )
    arguments: Arguments = Field(
        default_factory=dict, description="custom, torchvision, timm: more arguments, JSON or words."
    )


class OnBadSample(StrEnum):
    """Policy on samples that cannot be used: a picture that cannot be decoded, or a row without text or label."""

    FAIL = "Fail"
    SKIP = "Skip"


# A column of a table, or the name of a folder, a file or a split.
PartName = Annotated[str, Field(min_length=1, max_length=256)]


class Columns(Model):
    """Names of a table's columns."""

    text: PartName = Field("text", description="The column of texts.")
    file: PartName = Field("file_name", description="image-folder with metadata: the column of the pictures' paths.")
    label: PartName = Field("label", description="The column of classes, numbers, or lists of labels: see recipe.task.")
    labels: Annotated[list[PartName], Field(max_length=256)] = Field(
        default_factory=list,
        description="In place of label: several numbers (regression), or 0 and 1 for each label (multi-label).",
    )
    split: PartName = Field("split", description="The column that says train, validation or test, where there is one.")


class Splits(Model):
    """Parts of the data set to train on and to hold out, where their names do not say so."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.ignore) || !self.ignore || !(has(self.training) || has(self.heldOut))",
            "splits.ignore holds a part of all out: remove training and heldOut, or ignore",
            lambda said: not said.ignore or (said.training, said.held_out) == (None, None),
        ),
    )
    training: PartName | None = Field(None, description="Its folder, file, split or value in the column.")
    held_out: PartName | None = Field(None, description="The same of what is held out; a part of training when unset.")
    ignore: bool = Field(False, description="Names mean nothing here, as of a class `train`: hold a part of all out.")


_NO_PATH = ("digits", "fashion-mnist", "shapes", "synthetic", "custom")
_NO_URI = ("digits", "shapes", "synthetic")


def _of_files(field: str, *names: str) -> Rule:
    """Rule that refuses a field which other choices would not look at."""
    plain = re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", field)
    return Rule(
        f"self.name in {list(names)} || !has(self.{field})",
        f"{field} is for {', '.join(names)}: remove it",
        lambda data: getattr(data, plain) is None or data.name.value in names,
    )


class DatasetChoice(SupervisedText):
    """Choice of the data set: built in, generated, read from `uri`, or loaded by the user's own code."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.name in {list(_NO_PATH)} || has(self.uri)",
            "this data set is read from a path: set uri",
            lambda data: data.name.value in _NO_PATH or data.uri is not None,
        ),
        Rule(
            f"!(self.name in {list(_NO_URI)}) || !has(self.uri)",
            "this data set has no uri: remove it",
            lambda data: data.uri is None or data.name.value not in _NO_URI,
        ),
        Rule(
            "self.name.matches('^(text|hugging)') || !has(self.tokenizer)",
            "tokenizer is for text, and sft takes the model's own: remove it",
            lambda data: data.tokenizer is None or data.name.value.startswith(("text", "hugging")),
        ),
        ONLY_SFT,
        ONLY_PACKED,
        LOSS_FITS,
        _own_code("dataset"),
        _ARGUMENT_NAMES,
        _taken_by("arguments", "custom", "synthetic"),
        _of_files(
            "splits",
            "image-folder",
            "yolo-folder",
            "mask-folder",
            "text-files",
            "text-table",
            "hugging-face",
            "sft",
            "preference",
        ),
        _of_files("columns", "text-table", "hugging-face", "image-folder"),
        _of_files("imageSize", "image-folder", "yolo-folder", "mask-folder"),
        Rule(
            "self.name != 'yolo-folder' || !has(self.imageSize) || self.imageSize % 32 == 0",
            "imageSize of yolo-folder is a multiple of 32, the detector's coarsest step",
            lambda data: data.name.value != "yolo-folder" or (data.image_size or 32) % 32 == 0,
        ),
        *uris.read(),
        *uris.read("tokenizer"),
    )
    name: DatasetName = Field(description="A data set of the built-in trainer, or custom.")
    uri: Uri | None = Field(None, description="Where the data lies; `fashion-mnist` has Debian's path.")
    limit: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(None, description="Use only so many samples.")
    evaluation_limit: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="Evaluate with only so many of the samples that are held out."
    )
    splits: Splits | None = Field(
        None, description="What is held out, where names (train, val, test and the like) do not say so."
    )
    columns: Columns | None = Field(None, description="Tables: what their columns are called.")
    image_size: Annotated[int, Field(ge=8, le=4096)] | None = Field(
        None, description="Pictures: pixels of both sides; 224 (yolo-folder: 320), or as small as the first when unset."
    )
    on_bad_sample: OnBadSample = Field(
        OnBadSample.FAIL, description="Fail: a broken picture or row ends the job. Skip: it is left out and counted."
    )
    sequence_length: Annotated[int, Field(ge=2, le=131072)] = Field(128, description="Text: tokens of a sample.")
    tokenizer: Uri | None = Field(
        None, description="Text: tokenizer.json or its folder; bytes are the tokens when unset."
    )
    callable: Callable | None = Field(None, description="custom: module:function of your own code.")
    arguments: Arguments = Field(
        default_factory=dict, description="custom and synthetic: more arguments, as JSON or plain words."
    )
