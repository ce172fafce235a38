"""Description of an ONNX model in people's terms: what it says itself, what its user says, and what follows from both.

Used by `workloads import`, which writes it down, and by the server for a model without artifact.json.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slipway.api.common import artifact as api
from slipway.api.common.artifact import TOKENIZER_FILE, Artifact, Preprocessing, Task, TensorSpec, TextProcessing
from slipway.api.serving.description import ImageInput, ModelDescription, TextInput
from workloads.errors import BadInput

Axes = Sequence[int | str]
TOKENS = 512  # of a text, where nothing says how many
GREY, COLOUR = 1, 3
MASKS, TYPES = ("attention_mask", "input_mask", "mask"), ("token_type_ids", "segment_ids")
NUMBERS = (api.DType.FLOAT32, api.DType.FLOAT16, api.DType.BFLOAT16, api.DType.UINT8, api.DType.INT8)


def described(
    known: Artifact | None, wanted: ModelDescription, signature: api.Signature, folder: Path, name: str
) -> Artifact:
    """An artifact's description with what `wanted` says; files are those of `known`. BadInput where they do not fit."""
    task = wanted.task or (known.task if known is not None else Task.RAW)
    labels = list(wanted.labels) if wanted.labels is not None else known.labels if known is not None else []
    update: dict[str, Any] = {"task": task, "labels": labels}
    if wanted.columns is not None:
        update["columns"] = _columns(wanted.columns, signature)
    bare = known is None
    vectors = bare and task is Task.EMBEDDING and wanted.image is None and wanted.text is None
    pictures = len(signature.inputs[0].shape) == 4
    if wanted.image is not None or (bare and task in _PICTURES) or (vectors and pictures):
        update["preprocessing"] = _image(wanted, task, signature, known)
    if wanted.text is not None or (bare and task in _TEXTS):
        update["text"] = _text(wanted.text or TextInput(), signature, folder)
    if task is Task.OBJECT_DETECTION and (wanted.detection is not None or known is None):
        said = wanted.detection
        update["detection"] = api.Detection(**said.model_dump()) if said is not None else api.Detection()
    _check_labels(task, labels, signature)
    if known is not None:
        return known.model_copy(update=update)
    return Artifact(
        architecture=api.Architecture(name="onnx", arguments={}),
        signature=signature,
        parameters=0,
        lineage=api.Lineage(job=api.JobReference(kind="Import", name=name)),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        files=[],
        **update,
    )


_PICTURES = {Task.IMAGE_CLASSIFICATION, Task.OBJECT_DETECTION, Task.SEGMENTATION}
_TEXTS = {Task.TEXT_CLASSIFICATION}
LABELLED = {*_TEXTS, Task.IMAGE_CLASSIFICATION, Task.MULTI_LABEL, Task.REGRESSION}


def axis_name(name: str, taken: Mapping[str, str]) -> str:
    """An axis' name as artifact.json writes names; two that differ stay two."""
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower()) or "axis"
    plain = plain if plain[0].isalpha() else f"axis_{plain}"
    while plain in taken.values():
        plain += "_"
    return plain


def signature_of(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> api.Signature:
    """Signature of a model, with axes named as artifact.json names them."""
    names: dict[str, str] = {}

    def plain(spec: TensorSpec) -> TensorSpec:
        shape: list[int | str] = []
        for axis in spec.shape:
            if isinstance(axis, str):
                names.setdefault(axis, axis_name(axis, names))
            shape.append(names[axis] if isinstance(axis, str) else axis)
        return spec.model_copy(update={"shape": shape})

    try:
        return api.Signature.model_validate(
            {"inputs": [plain(spec).wire() for spec in inputs], "outputs": [plain(spec).wire() for spec in outputs]}
        )
    except ValidationError as error:
        raise BadInput(f"the model's inputs and outputs cannot be written down: {error.errors()[0]['msg']}") from error


def _image(wanted: ModelDescription, task: Task, signature: api.Signature, known: Artifact | None) -> Preprocessing:
    said = wanted.image or ImageInput()
    spec = signature.inputs[0]
    if len(signature.inputs) != 1 or len(spec.shape) != 4 or spec.dtype not in NUMBERS:
        shapes = ", ".join(f"{one.name} {one.dtype} {one.shape}" for one in signature.inputs)
        raise BadInput(f"task {task} needs one input of pictures with four axes, the model takes {shapes}")
    layout, channels, height, width = _shape(spec.shape, said)
    before = known.preprocessing if known is not None else None
    mean = said.mean or (before.mean if before is not None else [0.0])
    std = said.std or (before.std if before is not None else [1.0])
    if {len(mean), len(std)} - {1, channels}:
        raise BadInput(f"mean and std have {len(mean)} and {len(std)} numbers, the model takes {channels} channels")
    fit = said.fit or ("Crop" if said.resize else "Letterbox" if task is Task.OBJECT_DETECTION else "Stretch")
    return Preprocessing(
        channels=GREY if channels == GREY else COLOUR,
        height=height,
        width=width,
        resize=said.resize or (min(height, width) if fit == "Crop" else None),
        scale=said.scale or (before.scale if before is not None else 1 / 255),
        mean=_each(mean, channels),
        std=_each(std, channels),
        layout=layout,
        order=said.order,
        letterbox=fit == "Letterbox",
    )


def _each(numbers: Sequence[float], channels: int) -> list[float]:
    return list(numbers) if len(numbers) == channels else [numbers[0]] * channels


def _shape(axes: Axes, said: ImageInput) -> tuple[Any, int, int, int]:
    """Layout, channels, height and width of an input [batch, ., ., .]."""
    last = axes[3] in {GREY, COLOUR} and axes[1] not in {GREY, COLOUR}
    places = (3, 1, 2) if last else (1, 2, 3)
    found = []
    for name, place, given in zip(
        ("channels", "height", "width"), places, (said.channels, said.height, said.width), strict=True
    ):
        axis = axes[place]
        if isinstance(axis, int) and given is not None and axis != given:
            raise BadInput(f"image.{name} is {given}, the model's input has {axis}")
        length = axis if isinstance(axis, int) else given
        if length is None:
            raise BadInput(f"the model's input leaves its {name} open: set image.{name} (import: --size, --channels)")
        found.append(length)
    channels, height, width = found
    if channels not in {GREY, COLOUR}:
        raise BadInput(f"the model's input {list(axes)} has {channels} channels: pictures have 1 or 3")
    return "NHWC" if last else "NCHW", channels, height, width


def _text(said: TextInput, signature: api.Signature, folder: Path) -> TextProcessing:
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise BadInput(f"texts need {TOKENIZER_FILE} beside the model: put it there (import: --tokenizer)")
    names = [spec.name for spec in signature.inputs]
    mask = next((name for name in MASKS if name in names), None)
    types = next((name for name in TYPES if name in names), None)
    rest = [name for name in names if name not in {mask, types}]
    if len(rest) != 1:
        raise BadInput(f"which input takes the tokens? The model has {', '.join(names)}")
    padding, limit = _padding(path)
    return TextProcessing(
        max_tokens=said.max_tokens or limit or TOKENS,
        padding_token=padding,
        special_tokens=said.special_tokens,
        tokens=rest[0],
        mask=mask,
        types=types,
        pooling=said.pooling,
        normalise=said.normalise,
    )


def _padding(path: Path) -> tuple[int, int | None]:
    """The padding token and the limit of a tokenizer.json, as far as it says."""
    try:
        document = json.loads(path.read_text())
        added = {str(one["content"]): int(one["id"]) for one in document.get("added_tokens") or []}
        padding = (document.get("padding") or {}).get("pad_id")
        limit = (document.get("truncation") or {}).get("max_length")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: not a tokenizer ({error!r})") from error
    if padding is None:
        padding = next((added[name] for name in ("[PAD]", "<pad>", "<|endoftext|>", "</s>") if name in added), 0)
    return int(padding), int(limit) if limit else None


def _columns(names: Sequence[str], signature: api.Signature) -> list[str]:
    only = signature.inputs[0]
    if len(signature.inputs) != 1 or len(only.shape) != 2:
        raise BadInput(
            "columns name the values of one input [batch, values]: this model's inputs have names themselves"
        )
    if len(set(names)) != len(names) or (isinstance(only.shape[1], int) and only.shape[1] != len(names)):
        raise BadInput(f"{len(set(names))} different columns, the model's input {only.name} has {only.shape[1]} values")
    return list(names)


def _check_labels(task: Task, labels: Sequence[str], signature: api.Signature) -> None:
    """Require as many labels as a classifier has classes, where its outputs say how many there are."""
    axes = signature.outputs[0].shape
    if not labels or task not in LABELLED or len(axes) != 2:
        return
    if isinstance(axes[1], int) and axes[1] != len(labels):
        raise BadInput(f"{len(labels)} labels, the model's output has {axes[1]} classes")
