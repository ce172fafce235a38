"""From a detector's boxes to objects in the visitor's picture: non-maximum suppression, then back through the scaling.

A detection artifact has one output in YOLOv5's layout, [batch, n, 5 + classes] (see workloads.detection), or the two
outputs `boxes` [batch, n, 4] as x1, y1, x2, y2 in pixels of the model's input, and `scores` [batch, n, classes] from 0
to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway.api.artifact import Preprocessing
from workloads.detection import corners, select
from workloads.serve.datatypes import Array

LEAST_SCORE = 0.25


@dataclass(frozen=True)
class Geometry:
    """From the model's input back to the picture: x * scale + offset, cut at width and height, all in pixels."""

    scale: tuple[float, float]
    offset: tuple[float, float]
    width: int
    height: int


def geometry(width: int, height: int, how: Preprocessing) -> Geometry:
    """What `preprocess.prepare` does to a picture of this size, the other way round."""
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


def boxes_of(outputs: Mapping[str, Array], labels: Sequence[str]) -> tuple[Array, Array] | None:
    """Boxes and scores of a detector's outputs by name; None when they have neither form."""
    if {"boxes", "scores"} <= set(outputs):
        return outputs["boxes"], outputs["scores"]
    only = next(iter(outputs.values()))
    return corners(only) if len(outputs) == 1 and only.ndim == 3 and only.shape[-1] == 5 + len(labels) else None


def detect(boxes: Array, scores: Array, labels: Sequence[str], places: Sequence[Geometry]) -> list[dict[str, Any]]:
    """Per picture its objects, best first. Boxes in pixels of the picture as it was sent."""
    return [
        {"objects": _objects(one.astype(np.float64), score.astype(np.float64), labels, place)}
        for one, score, place in zip(boxes, scores, places, strict=True)
    ]


def _objects(boxes: Array, scores: Array, labels: Sequence[str], place: Geometry) -> list[dict[str, Any]]:
    kept, classes, best = select(boxes, scores, LEAST_SCORE)
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
