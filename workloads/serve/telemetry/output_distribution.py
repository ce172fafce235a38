"""Distribution of the model's outputs. A canary's gate compares this between two revisions of a service.

A classifier's rows are counted by the class of the highest score; rows of any other output by the sign and the power of
two of their mean. Only so many batches are looked at that an engine does not notice.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from workloads.serve.datatypes import Array
from workloads.serve.signature import Signature

# Between two batches that are looked at.
PAUSE_SECONDS = 0.005
MOST_CLASSES = 1000
LARGEST_POWER = 30


class Sketch:
    """Distribution of the outputs so far: one per server; `see` from the engines' threads."""

    def __init__(self, signature: Signature, clock: Callable[[], float] = time.monotonic) -> None:
        self.output = signature.outputs[0].name
        self._batched = signature.batched
        self._clock = clock
        self._next = float("-inf")
        self._lock = threading.Lock()
        self._bins: Counter[str] = Counter()

    def see(self, outputs: Sequence[Array]) -> None:
        """The engine's outputs for a batch."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + PAUSE_SECONDS
        rows = bins_of(outputs[0] if self._batched else outputs[0][None])
        with self._lock:
            self._bins.update(rows)

    def counts(self) -> dict[str, int]:
        """Rows by bin, so far."""
        with self._lock:
            return dict(self._bins)


def bins_of(rows: Array) -> Counter[str]:
    """Rows by bin. `rows`: any shape, the first axis counts them."""
    if rows.dtype.kind not in "fiub" or not rows.size:
        return Counter()
    if rows.dtype.kind == "f" and rows.ndim == 2 and 2 <= rows.shape[1] <= MOST_CLASSES:
        # The highest score of a row with NaN would be the NaN: a class like any other.
        broken = np.isnan(rows).any(axis=1)
        classes, counts = np.unique(rows[~broken].argmax(axis=1), return_counts=True)
        bins = Counter({str(kind): int(count) for kind, count in zip(classes, counts, strict=True)})
        return bins + Counter({"nan": int(broken.sum())})
    means = rows.reshape(len(rows), -1).mean(axis=1, dtype=np.float64)
    powers = np.clip(np.frexp(np.abs(np.nan_to_num(means)))[1], -LARGEST_POWER, LARGEST_POWER)
    return Counter(
        "nan" if np.isnan(mean) else f"{'-' if mean < 0 else '+'}2^{power}"
        for mean, power in zip(means, powers, strict=True)
    )
