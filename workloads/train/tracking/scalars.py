"""Names and values under which trackers know a run's figures. Pure.

A name has a group before its slash, by which TensorBoard and MLflow sort their charts. What is not finite is left out:
MLflow's databases refuse it or keep another number in its place.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

TRAINING, HELD_OUT, SPEED = "training", "heldOut", "speed"
_GROUPS = {
    "trainingLoss": (TRAINING, "epochLoss"),
    "learningRate": (TRAINING, "learningRate"),
    "epoch": (TRAINING, "epoch"),
    **{
        name: (SPEED, name)
        for name in (
            "samplesPerSecond", "tokensPerSecond", "flopsPerSecond", "mfu", "communicationShare", "peakMemoryBytes",
        )
    },
}  # fmt: skip
LOSS = f"{TRAINING}/loss"


def of_row(row: Mapping[str, Any]) -> dict[str, float]:
    """Scalars of a row of metrics.jsonl; the step is not one of them."""
    found = {}
    for name, value in row.items():
        if name == "step" or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        group, called = _GROUPS.get(name, (HELD_OUT, name))
        if math.isfinite(value):
            found[f"{group}/{called}"] = float(value)
    return found


def flattened(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Settings of a nest as pairs of dotted name and words."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", str(value)
