"""Description of pictures, texts or rows for a model that has none of its own: part of a service's spec.

`python -m workloads import` takes the same as options and writes it into artifact.json.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.common.artifact import Pooling, Task
from slipway.api.common.base import Model, Rule

Share = Annotated[float, Field(ge=0, le=1)]
Numbers = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=1, max_length=3)]
Positive = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1, max_length=3)]
Label = Annotated[str, Field(min_length=1, max_length=128)]
InputName = Annotated[str, Field(min_length=1, max_length=128)]

_OF_BOTH = (Task.EMBEDDING, Task.MULTI_LABEL, Task.REGRESSION)
PICTURES = (Task.IMAGE_CLASSIFICATION, Task.OBJECT_DETECTION, Task.SEGMENTATION, *_OF_BOTH)
TEXTS = (Task.TEXT_CLASSIFICATION, Task.RAW, *_OF_BOTH)


class ImageInput(Model):
    """Steps from a picture to the model's input; what is unset follows from the input's shape."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.channels) || self.channels != 2",
            "channels are 1, grey, or 3, colour",
            lambda image: image.channels != 2,
        ),
        Rule(
            "!has(self.resize) || !has(self.fit) || self.fit == 'Crop'",
            "resize is the shorter side before the centre is cut: set fit to Crop, or remove it",
            lambda image: image.resize is None or image.fit in {None, "Crop"},
        ),
        Rule(
            "(!has(self.mean) || size(self.mean) != 2) && (!has(self.std) || size(self.std) != 2)",
            "mean and std have one number, or one for each of three channels",
            lambda image: all(len(numbers or [0]) != 2 for numbers in (image.mean, image.std)),
        ),
    )
    width: Annotated[int, Field(ge=1, le=4096)] | None = Field(None, description="Pixels.")
    height: Annotated[int, Field(ge=1, le=4096)] | None = Field(None, description="Pixels.")
    channels: Annotated[int, Field(ge=1, le=3)] | None = Field(None, description="1 is grey, 3 is colour.")
    order: Literal["RGB", "BGR"] = Field("RGB", description="Of the channels; BGR for models trained with OpenCV.")
    scale: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="What a pixel, 0 to 255, is multiplied by before mean and std; 1/255 when unset."
    )
    mean: Numbers | None = Field(None, description="Taken away from each channel; 0 when unset.")
    std: Positive | None = Field(None, description="What each channel is divided by; 1 when unset.")
    fit: Literal["Stretch", "Crop", "Letterbox"] | None = Field(
        None,
        description="How a picture of another shape fits in: stretched, its centre cut out, or whole with a border."
        " Letterbox for YOLO's layouts when unset, Crop with resize, else Stretch.",
    )
    resize: Annotated[int, Field(ge=1, le=8192)] | None = Field(
        None, description="Crop: the shorter side in pixels before the centre is cut out."
    )


class TextInput(Model):
    """Steps from a text to the model's tokens, by tokenizer.json in the model's folder."""

    max_tokens: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        None, description="Of a text; what is beyond is cut off. As in tokenizer.json, or 512, when unset."
    )
    special_tokens: bool = Field(True, description="Add the tokenizer's own, such as [CLS] and [SEP].")
    pooling: Pooling | None = Field(None, description="Of a vector for each token to one: mean, when unset, or first.")
    normalise: bool = Field(False, description="Vectors of length 1.")


class DetectionOutput(Model):
    """Layout of a detector's boxes, and thresholds of those that are returned."""

    layout: Literal["yolov5", "yolov8", "yolov10", "boxes-scores"] | None = Field(
        None, description="Recognised by the outputs' shapes and the number of labels when unset."
    )
    score: Share = Field(0.25, description="Boxes below it are not told; a request's parameter score wins.")
    overlap: Share = Field(
        0.5, description="Of two boxes of a class that overlap more, one is told; a request's parameter overlap wins."
    )


def _belongs(field: str, tasks: tuple[Task, ...]) -> Rule:
    names = [str(task) for task in tasks]
    return Rule(
        f"!has(self.{field}) || (has(self.task) && self.task in {names})",
        f"{field} is for task {', '.join(names)}: set task, or remove it",
        lambda model: getattr(model, field) is None or model.task in tasks,
    )


class ModelDescription(Model):
    """Inputs and outputs of the model in people's terms; they go before what an artifact says itself."""

    cel: ClassVar[tuple[Rule, ...]] = (
        _belongs("image", PICTURES),
        _belongs("text", TEXTS),
        _belongs("detection", (Task.OBJECT_DETECTION,)),
        _belongs("columns", (Task.TABULAR,)),
        Rule(
            "!has(self.labels) || has(self.task)",
            "labels are those of a task: set task",
            lambda model: not model.labels or model.task is not None,
        ),
    )
    task: Task | None = Field(None, description="What the model does; as its artifact says when unset.")
    labels: Annotated[list[Label], Field(max_length=1024)] | None = Field(
        None, description="Names of the classes, in the order of the outputs."
    )
    columns: Annotated[list[InputName], Field(max_length=1024)] | None = Field(
        None, description="tabular: names of the values in a row, where the model has one input for all of them."
    )
    image: ImageInput | None = Field(None, description="How pictures become the model's input.")
    text: TextInput | None = Field(None, description="How texts become the model's input.")
    detection: DetectionOutput | None = Field(None, description="Where the boxes are, and which are told.")

    @property
    def wants_texts(self) -> bool:
        """Tell whether tokenizer.json is a part of the model."""
        return self.text is not None or self.task is Task.TEXT_CLASSIFICATION
