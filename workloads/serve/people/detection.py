"""From a detector's boxes to objects in the visitor's picture: non-maximum suppression, then back through the scaling.

A detection artifact has the outputs `boxes` [batch, n, 4] as x1, y1, x2, y2 in pixels of the model's input, and
`scores` [batch, n, classes] from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway.api.artifact import Preprocessing
from workloads.serve.datatypes import Array

LEAST_SCORE = 0.25
MOST_OVERLAP = 0.5  # intersection over union of two boxes of one class; above it the lower score goes
MOST_OBJECTS = 100
CANDIDATES = 1000  # of the best scores: bounds the work of the suppression, which is quadratic


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


def detect(boxes: Array, scores: Array, labels: Sequence[str], places: Sequence[Geometry]) -> list[dict[str, Any]]:
    """Per picture its objects, best first. Boxes in pixels of the picture as it was sent."""
    return [
        {"objects": _objects(one.astype(np.float64), score.astype(np.float64), labels, place)}
        for one, score, place in zip(boxes, scores, places, strict=True)
    ]


def _objects(boxes: Array, scores: Array, labels: Sequence[str], place: Geometry) -> list[dict[str, Any]]:
    classes = scores.argmax(axis=1)
    best = scores.max(axis=1)
    order = np.argsort(-best, kind="stable")[:CANDIDATES]
    order = order[best[order] >= LEAST_SCORE]
    kept = order[suppress(boxes[order], classes[order])][:MOST_OBJECTS]
    limits = np.array([place.width, place.height] * 2, dtype=np.float64)
    outside = boxes[kept] * np.array(place.scale * 2) + np.array(place.offset * 2)
    inside = np.clip(outside, 0, limits)
    return [
        {
            "label": labels[classes[one]] if classes[one] < len(labels) else str(classes[one]),
            "index": int(classes[one]),
            "score": float(best[one]),
            "box": [round(float(edge), 2) for edge in box],
        }
        for one, box in zip(kept, inside, strict=True)
    ]


def suppress(boxes: Array, classes: Array) -> Array:
    """Places of the boxes to keep, of boxes [n, 4] with the best first; only boxes of one class suppress each other."""
    kept: list[int] = []
    alive = np.ones(len(boxes), dtype=bool)
    for place in range(len(boxes)):
        if not alive[place]:
            continue
        kept.append(place)
        alive &= ~((overlaps(boxes[place], boxes) > MOST_OVERLAP) & (classes == classes[place]))
    return np.array(kept, dtype=np.int64)


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box with each of `others` [n, 4]; 0 for boxes without an area."""
    corner = np.maximum(box[:2], others[:, :2])
    opposite = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=1)
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    own = float(np.prod(np.clip(box[2:] - box[:2], 0, None)))
    union = own + areas - shared
    result: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result
