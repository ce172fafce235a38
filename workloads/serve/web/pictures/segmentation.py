"""Class of each pixel of the input, as a PNG, and the classes' shares, from a segmentation model's scores."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from workloads.serve.datatypes import Array
from workloads.serve.errors import Refused

MOST_CLASSES = 256  # of a PNG of 8 bits


def segments(scores: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Scores [batch, classes, h, w], or classes [batch, h, w]. Per picture `mask`, a grey PNG in base64, and classes.

    One channel is one class against nothing, from a logit of 0 on.
    """
    if scores.ndim == 3:
        classes = scores
    elif scores.shape[1] == 1:
        classes = (scores[:, 0] > 0).astype(np.uint8)
    else:
        classes = scores.argmax(axis=1)
    if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < MOST_CLASSES:
        raise Refused(f"the model gives classes outside 0 to {MOST_CLASSES - 1}")
    return [_one(row.astype(np.uint8), labels) for row in classes]


def _one(mask: Array, labels: Sequence[str]) -> dict[str, Any]:
    packed = io.BytesIO()
    Image.fromarray(mask).save(packed, format="PNG")
    kinds, counts = np.unique(mask, return_counts=True)
    found = [
        {
            "label": labels[kind] if kind < len(labels) else str(int(kind)),
            "index": int(kind),
            "share": float(count / mask.size),
        }
        for kind, count in sorted(zip(kinds, counts, strict=True), key=lambda pair: -int(pair[1]))
    ]
    height, width = mask.shape
    return {"mask": base64.b64encode(packed.getvalue()).decode(), "width": width, "height": height, "classes": found}
