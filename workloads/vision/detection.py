"""Output of a detector: boxes out of YOLOv5's layout, non-maximum suppression, and average precision.

In numpy alone: the server finds the objects of a picture with it, the trainer its figures.

YOLOv5's layout is [batch, n, 5 + classes]: centre x and y, width and height in pixels of the model's input, then from 0
to 1 how sure it is that there is an object, and of each class that it is this one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_OVERLAP = 0.5  # intersection over union of two boxes of one class; above it the lower score goes
CANDIDATES = 1000  # of the best scores: bounds the work of the suppression, which is quadratic
# COCO's evaluation (Lin et al. 2014): objects of a picture that count, and recalls at which precision is read.
MOST_OBJECTS = 100
RECALLS = np.linspace(0, 1, 101)
BINS = 1000  # scores are told apart to a thousandth
OVERLAP = 0.5  # that a box must have with its object, for mAP@0.5
LEAST = 0.001  # scores below it count for nothing


def corners(predictions: Array) -> tuple[Array, Array]:
    """Boxes [.., n, 4] as x1, y1, x2, y2, and scores [.., n, classes], from YOLOv5's layout."""
    centre, half = predictions[..., :2], predictions[..., 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=-1), predictions[..., 4:5] * predictions[..., 5:]


def select(boxes: Array, scores: Array, least: float, overlap: float = MOST_OVERLAP) -> tuple[Array, Array, Array]:
    """Objects in one picture's boxes [n, 4] and scores [n, classes]: their places, classes and scores, best first.

    `overlap`: of two boxes of a class that overlap more, the better one stays.
    """
    classes, best = scores.argmax(axis=1), scores.max(axis=1)
    order = np.argsort(-best, kind="stable")[:CANDIDATES]
    order = order[best[order] >= least]
    kept = order[suppress(boxes[order], classes[order], MOST_OBJECTS, overlap)]
    return kept, classes[kept], best[kept]


def suppress(boxes: Array, classes: Array, most: int | None = None, overlap: float = MOST_OVERLAP) -> Array:
    """Places of the boxes to keep, of boxes [n, 4] with the best first; only boxes of one class suppress each other.

    No more than `most`.
    """
    kept: list[int] = []
    alive = np.ones(len(boxes), dtype=bool)
    for place in range(len(boxes)):
        if alive[place]:
            kept.append(place)
            if len(kept) == most:
                break
            (shared,) = overlaps(boxes[place : place + 1], boxes)
            alive &= ~((shared > overlap) & (classes == classes[place]))
    return np.array(kept, dtype=np.int64)


def overlaps(boxes: Array, others: Array) -> Array:
    """Intersection over union [n, m] of `boxes` [n, 4] with `others` [m, 4]; 0 where neither has an area."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=2)
    own, theirs = (np.prod(np.clip(sides[:, 2:] - sides[:, :2], 0, None), axis=1) for sides in (boxes, others))
    union = own[:, None] + theirs - shared
    result: Array = np.divide(shared, union, out=np.zeros_like(shared, dtype=np.float64), where=union > 0)
    return result


def hits(found: tuple[Array, Array, Array], true_boxes: Array, true_classes: Array, least: float) -> Array:
    """Hits among a picture's boxes, bool [n]. `found`: boxes [n, 4], classes [n] and scores [n], best first.

    A box hits the object of its class that it overlaps most, at least by `least`, and that no better box has hit.
    """
    boxes, kinds, _ = found
    shared = np.where(kinds[:, None] == true_classes, overlaps(boxes, true_boxes), 0.0)
    hit = np.zeros(len(boxes), dtype=bool)
    for place in np.flatnonzero((shared >= least).any(axis=1)):
        best = shared[place].argmax()
        hit[place] = shared[place, best] >= least
        if hit[place]:
            shared[:, best] = 0.0  # what a better box has hit, no other can
    return hit


def ranks(scores: Array) -> Array:
    """Scores in thousandths, int64."""
    return np.minimum(BINS - 1, (scores * BINS).astype(np.int64))


def judged(predictions: Array, rows: Array) -> tuple[Array, Array, Array, Array]:
    """One picture's predictions [n, 5 + classes] held against its objects' rows [m, 5] of a class and a box.

    Rows of class -1 are none. Returns classes, ranks and hits of the boxes found, and the classes of the objects.
    """
    boxes, scores = corners(predictions.astype(np.float64))
    kept, classes, best = select(boxes, scores, LEAST)
    true = rows[rows[:, 0] >= 0].astype(np.float64)
    edges = np.concatenate([true[:, 1:3] - true[:, 3:] / 2, true[:, 1:3] + true[:, 3:] / 2], axis=1)
    true_classes = true[:, 0].astype(np.int64)
    return classes, ranks(best), hits((boxes[kept], classes, best), edges, true_classes, OVERLAP), true_classes


def tally(
    found: tuple[Array, Array, Array], true_boxes: Array, true_classes: Array, classes: int, least: float
) -> Array:
    """One picture's part of the average precision, which is added up over pictures: float64 [classes, 2 * BINS + 1].

    `found` as for `hits`. Per class: hits by score, misses by score, and how many objects there are.
    """
    _, kinds, scores = found
    result = np.zeros((classes, 2 * BINS + 1))
    result[:, -1] = np.bincount(true_classes, minlength=classes)
    hit = hits(found, true_boxes, true_classes, least)
    np.add.at(result, (kinds, ranks(scores) + np.where(hit, 0, BINS)), 1.0)
    return result


def average_precisions(tallies: Array) -> Array:
    """Average precision per class from the sum of all tallies, NaN for a class of which there is no object.

    The mean, over 101 recalls, of the best precision that is reached at that recall or a higher one (COCO). Boxes whose
    scores agree to a thousandth share their rank.
    """
    hits, misses = (np.cumsum(part[:, ::-1], axis=1) for part in (tallies[:, :BINS], tallies[:, BINS:-1]))
    result = np.full(len(tallies), np.nan)
    for kind, objects in enumerate(tallies[:, -1]):
        if objects:
            recall = hits[kind] / objects
            precision = hits[kind] / np.maximum(1, hits[kind] + misses[kind])
            envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            result[kind] = envelope[np.searchsorted(recall, RECALLS, side="left")].mean()
    return result
