"""Model artifact: a directory with a model's weights and `artifact.json`, which describes them.

The `artifact.json` beside the weights, as written by the trainer and read by quantizer, server and operator.

An artifact is a directory. `artifact.json` names every other file with its size and sha256, so the artifact's digest is
simply the sha256 of the bytes of `artifact.json` (what `sha256sum artifact.json` prints): it fixes everything else.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from slipway.api.common.base import StatusModel
from slipway.api.common.language import AdapterOfModel, ArtifactKind, LanguageModel
from slipway.api.common.types import Count, Digest

FORMAT = "slipway.dev/model"
FORMAT_VERSION = 1
DESCRIPTION_FILE = "artifact.json"
WEIGHTS_FILE = "model.safetensors"
HISTORY_FILE = "metrics.jsonl"
TOKENIZER_FILE = "tokenizer.json"


class Task(StrEnum):
    """Task of the model: decides the meaning of its inputs and outputs."""

    IMAGE_CLASSIFICATION = "image-classification"
    TEXT_CLASSIFICATION = "text-classification"
    TEXT_GENERATION = "text-generation"
    OBJECT_DETECTION = "object-detection"
    SEGMENTATION = "segmentation"
    MULTI_LABEL = "multi-label-classification"
    REGRESSION = "regression"
    EMBEDDING = "embedding"
    TABULAR = "tabular"
    RAW = "raw"


class DType(StrEnum):
    """Element types, with safetensors', numpy's and ONNX's common names."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT32 = "int32"
    INT64 = "int64"
    BOOL = "bool"
    FLOAT64 = "float64"
    INT16 = "int16"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    STRING = "string"


Axis = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class TensorSpec(StatusModel):
    """One input or output. An axis is a fixed length, or a name when its length may differ from call to call."""

    # Exporters write whole paths of modules, and some a table of classes as JSON.
    name: Annotated[str, Field(min_length=1, max_length=1024)]
    dtype: DType
    shape: list[Axis]


class Signature(StatusModel):
    """Input and output tensors of the model."""

    inputs: Annotated[list[TensorSpec], Field(min_length=1)]
    outputs: Annotated[list[TensorSpec], Field(min_length=1)]


class LayerChange(StatusModel):
    """One layer of a compressed model that is not as its constructor made it.

    With `rank` it has become a product of two layers, `0` and `1`, with so many channels between them; otherwise it is
    a convolution, linear layer or normalisation of other widths.
    """

    layer: Annotated[str, Field(min_length=1, max_length=256)]
    inputs: Annotated[int, Field(ge=1)] | None = None
    outputs: Annotated[int, Field(ge=1)] | None = None
    groups: Annotated[int, Field(ge=1)] | None = None
    rank: Annotated[int, Field(ge=1)] | None = None


class Architecture(StatusModel):
    """Name in the model registry and the constructor's arguments: enough to rebuild the module without pickle.

    `changes` are made to what the constructor returns, in this order.
    """

    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: dict[str, bool | int | float | str]
    changes: list[LayerChange] | None = None


class Preprocessing(StatusModel):
    """Steps from a picture to the model's input, in this order.

    Convert to `channels`; scale the shorter side to `resize` pixels (absent: leave); cut the centre `height` x `width`
    (absent resize: scale to exactly that); with `letterbox` instead scale so that all of it fits, in the middle of
    `height` x `width` filled with the grey `fill`; `order` of the channels; then `(value * scale - mean[c]) / std[c]`
    values being 0 to 255; then `layout`.
    """

    channels: Literal[1, 3]
    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    resize: Annotated[int, Field(ge=1, le=8192)] | None = None
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    scale: Annotated[float, Field(gt=0)] = 1 / 255
    mean: Annotated[list[float], Field(min_length=1, max_length=3)]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=3)]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    order: Literal["RGB", "BGR"] = "RGB"
    letterbox: bool = False
    fill: Annotated[int, Field(ge=0, le=255)] = 114


class Pooling(StrEnum):
    """Method that makes a text's vector of its tokens' vectors."""

    MEAN = "mean"
    FIRST = "first"


class TextProcessing(StatusModel):
    """Steps from a text, or two, to the model's tokens, in this order.

    Cut into tokens by tokenizer.json, or into bytes (0 to 255) where `tokenizer` is bytes; with the tokenizer's own
    special tokens if `special_tokens`; cut off after `max_tokens`, special tokens kept; filled up with `padding_token`.
    `tokens`, `mask` and `types` name the model's inputs: token numbers, 1 where a token is real, 0 and 1 for the first
    and the second text. A model without `mask` that is `padded` knows `padding_token` by itself; one that is neither
    gets texts of one length only, without padding. `pooling` and `normalise` are for vectors, task embedding.
    """

    tokenizer: Literal["tokenizer.json", "bytes"] = "tokenizer.json"
    max_tokens: Annotated[int, Field(ge=1, le=1048576)]
    padding_token: Count = 0
    special_tokens: bool = True
    tokens: Annotated[str, Field(min_length=1, max_length=128)] = "input_ids"
    mask: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    types: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    padded: bool = False
    pooling: Pooling | None = None
    normalise: bool = False


class Detection(StatusModel):
    """Layout of a detector's boxes, and thresholds of those that are returned unless a request asks otherwise.

    `layout`: yolov5 [batch, n, 5 + classes], yolov8 [batch, 4 + classes, n], yolov10 [batch, n, 6], or boxes-scores,
    the two outputs `boxes` and `scores`; absent: recognised by the outputs' shapes.
    """

    layout: Literal["yolov5", "yolov8", "yolov10", "boxes-scores"] | None = None
    score: Annotated[float, Field(ge=0, le=1)] = 0.25
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.5


class FileDigest(StatusModel):
    """One file, by its path inside the directory, in POSIX form."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^/\\][^\\]*$")]
    size: Annotated[int, Field(ge=0)]
    digest: Digest


class JobReference(StatusModel):
    """Job that made the artifact; a run outside Kubernetes has no uid and no namespace."""

    kind: str
    name: str
    namespace: str | None = None
    uid: str | None = None


class DatasetReference(StatusModel):
    """The data, by digest.

    `covers` says of what: all bytes, or names and sizes only where the data is too large to read twice.
    """

    name: str
    uri: str | None = None
    digest: Digest
    covers: Literal["content", "listing"] = "content"
    training_samples: Count
    held_out_samples: Count


class Source(StatusModel):
    """An artifact that this one was made from."""

    uri: str
    digest: Digest


class Lineage(StatusModel):
    """Origin of the model: enough to make it again, or to say why that is not possible."""

    job: JobReference
    dataset: DatasetReference | None = None
    sources: list[Source] = Field(default_factory=list)
    recipe: dict[str, Any] = Field(default_factory=dict)
    seed: Count | None = None
    steps: Count | None = None
    resumed_from_step: Count | None = None
    # Of which step the weights are, where those of the best evaluation were published.
    published_step: Count | None = None
    # Every recipe of a run that went on with another one, and from which step on; `recipe` is the last.
    recipes: list[dict[str, Any]] = Field(default_factory=list)
    processes: Count | None = None
    framework: dict[str, str] = Field(default_factory=dict)


class Artifact(StatusModel):
    """`artifact.json`.

    Fields of a newer writer that this reader does not know are skipped; a newer formatVersion is refused.
    """

    format: Literal["slipway.dev/model"] = "slipway.dev/model"
    format_version: Literal[1] = 1
    kind: ArtifactKind | None = None
    task: Task
    architecture: Architecture
    signature: Signature
    preprocessing: Preprocessing | None = None
    text: TextProcessing | None = None
    detection: Detection | None = None
    language: LanguageModel | None = None
    adapter: AdapterOfModel | None = None
    # Of an adapter: the model that it changes, by digest.
    base: Source | None = None
    columns: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    metrics: dict[str, float] = Field(default_factory=dict)
    parameters: Annotated[int, Field(ge=0)]
    lineage: Lineage
    created: str
    files: list[FileDigest]
