"""Objects in the visitor's picture from a detector's boxes: non-maximum suppression, then back through the scaling.

A detection artifact has one output in the layout of YOLOv5, [batch, n, 5 + classes] (see workloads.vision.detection),
of YOLOv8, [batch, 4 + classes, n] with centres, sizes and scores, or of YOLOv10, [batch, n, 6] with corners, score and
class; or the two outputs `boxes` [batch, n, 4] as x1, y1, x2, y2 in pixels of the model's input, and `scores`
[batch, n, classes] from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from slipway.api.common.artifact import Preprocessing
from workloads.serve.datatypes import Array
from workloads.vision.detection import MOST_OVERLAP, corners, select
from workloads.vision.preprocessing import scaled_size

LEAST_SCORE = 0.25
TOLD = 300  # boxes, by YOLOv10 and later models that suppress by themselves
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class BoxChoice:
    """Choice of boxes to tell: from a score on, and of two of a class that overlap more only the better one."""

    score: float = LEAST_SCORE
    overlap: float = MOST_OVERLAP


@dataclass(frozen=True)
class Geometry:
    """Map from the model's input back to the picture: x * scale + offset, cut at width and height, all in pixels."""

    scale: tuple[float, float]
    offset: tuple[float, float]
    width: int
    height: int


def geometry(width: int, height: int, how: Preprocessing) -> Geometry:
    """Inverse of what `preprocess.prepare` does to a picture of this size."""
    if how.letterbox:
        inside = scaled_size((width, height), how)
        scale = (width / inside[0], height / inside[1])
        left, top = (how.width - inside[0]) // 2, (how.height - inside[1]) // 2
        return Geometry(scale, (-left * scale[0], -top * scale[1]), width, height)
    if how.resize is None:
        return Geometry((width / how.width, height / how.height), (0.0, 0.0), width, height)
    shorter = min(width, height)
    scaled = (
        max(round(width * how.resize / shorter), how.width),
        max(round(height * how.resize / shorter), how.height),
    )
    left, top = (scaled[0] - how.width) // 2, (scaled[1] - how.height) // 2
    scale = (width / scaled[0], height / scaled[1])
    return Geometry(scale, (left * scale[0], top * scale[1]), width, height)


class Boxes(NamedTuple):
    """Boxes of a batch of pictures: boxes [batch, n, 4] as x1, y1, x2, y2, and scores [batch, n, classes].

    `final`: the model has taken away by itself what overlaps.
    """

    boxes: Array
    scores: Array
    final: bool = False


def layout_of(shapes: Mapping[str, Sequence[int]], labels: int) -> str | None:
    """The layout of a detector's outputs of these shapes, one picture's or a batch's; None for none that is known.

    With one class, six numbers may be YOLOv5's and YOLOv10's: the latter tells 300 boxes.
    """
    if {"boxes", "scores"} <= set(shapes):
        return "boxes-scores"
    only = next(iter(shapes.values()), ())
    if len(only) != 3:
        return None
    _, rows, columns = only
    if rows > columns > 0:
        if columns == 6 and (labels != 1 or rows == TOLD):
            return "yolov10"
        return "yolov5" if columns == 5 + labels or (not labels and columns > 6) else None
    return "yolov8" if rows == 4 + labels or (not labels and rows > 4) else None


def boxes_of(outputs: Mapping[str, Array], labels: Sequence[str], layout: str | None = None) -> Boxes | None:
    """Boxes and scores of a detector's outputs by name; None when they have no form that is known."""
    form = layout or layout_of({name: output.shape for name, output in outputs.items()}, len(labels))
    if form == "boxes-scores":
        return Boxes(outputs["boxes"], outputs["scores"])
    only = next(iter(outputs.values()))
    if form == "yolov5":
        return Boxes(*corners(only))
    if form == "yolov8":
        turned = only.transpose(0, 2, 1)
        centre, half = turned[..., :2], turned[..., 2:4] / 2
        return Boxes(np.concatenate([centre - half, centre + half], axis=-1), turned[..., 4:])
    if form == "yolov10":
        return Boxes(only[..., :4], _one_hot(only[..., 4], only[..., 5], len(labels)), final=True)
    return None


def _one_hot(best: Array, kinds: Array, labels: int) -> Array:
    """Scores [batch, n, classes] of which only one is not 0."""
    classes = np.clip(np.nan_to_num(kinds), 0, MOST_CLASSES - 1).astype(np.int64)
    scores = np.zeros((*best.shape, max(labels, int(classes.max(initial=0)) + 1)), np.float32)
    np.put_along_axis(scores, classes[..., None], best[..., None].astype(np.float32), axis=-1)
    return scores


def detect(
    boxes: Array, scores: Array, labels: Sequence[str], places: Sequence[Geometry], wanted: BoxChoice | None = None
) -> list[dict[str, Any]]:
    """Per picture its objects, best first. Boxes in pixels of the picture as it was sent."""
    wanted = wanted or BoxChoice()
    return [
        {"objects": _objects(one.astype(np.float64), score.astype(np.float64), labels, place, wanted)}
        for one, score, place in zip(boxes, scores, places, strict=True)
    ]


def _objects(
    boxes: Array, scores: Array, labels: Sequence[str], place: Geometry, wanted: BoxChoice
) -> list[dict[str, Any]]:
    kept, classes, best = select(boxes, scores, wanted.score, wanted.overlap)
    limits = np.array([place.width, place.height] * 2, dtype=np.float64)
    outside = boxes[kept] * np.array(place.scale * 2) + np.array(place.offset * 2)
    inside = np.clip(outside, 0, limits)
    return [
        {
            "label": labels[kind] if kind < len(labels) else str(kind),
            "index": int(kind),
            "score": float(score),
            "box": [round(float(edge), 2) for edge in box],
        }
        for kind, score, box in zip(classes, best, inside, strict=True)
    ]
