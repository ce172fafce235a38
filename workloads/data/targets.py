"""Targets of samples from the values of a table: classes by name, numbers, or yes and no for each label. Pure.

What a table says wrong is told by the number of its row, as missing texts are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.training.learning.task import TrainingTask
from workloads.data.datasets import Part, Samples, Subset
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

CUTS = "|;,"  # between the labels of a cell
YES, NO = frozenset({"1", "1.0", "true", "yes", "t", "y"}), frozenset({"0", "0.0", "false", "no", "f", "n", ""})
SHOWN = 5


@dataclass(frozen=True)
class Targets:
    """Names of classes or numbers, and what each sample should answer: int64 [n], float32 [n, k] or int64 [n, k]."""

    names: tuple[str, ...]
    values: "Array"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of each number that is learned, over the training samples."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def is_missing(value: Any) -> bool:
    """Null, not a number, or nothing but blanks."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def targets_of(rows: Sequence[Sequence[Any]], columns: Sequence[str], task: TrainingTask, where: str) -> Targets:
    """Targets of a table's rows, by the values of its label columns. BadInput names rows that make no sense."""
    if task is TrainingTask.REGRESSION:
        return Targets(tuple(columns), _numbers(rows, columns, where))
    if len(columns) > 1:
        return _by_columns(rows, columns, where)
    cells = [labels_in(row[0]) for row in rows]
    names = tuple(sorted({label for cell in cells for label in cell}))
    if not names:
        raise BadInput(f"{where}: no row has a label in the column {columns[0]}")
    places = {name: place for place, name in enumerate(names)}
    values = np.zeros((len(rows), len(names)), np.int64)
    for row, cell in enumerate(cells):
        values[row, [places[label] for label in cell]] = 1
    return Targets(names, values)


def labels_in(cell: Any) -> list[str]:
    """Labels of one cell: a list, or words between bars, semicolons or commas; none where it is empty."""
    if isinstance(cell, list | tuple | np.ndarray):
        return [str(label).strip() for label in cell if not is_missing(label)]
    if is_missing(cell):
        return []
    text = str(cell)
    cut = next((mark for mark in CUTS if mark in text), CUTS[0])
    return [word.strip() for word in text.split(cut) if word.strip()]


def _numbers(rows: Sequence[Sequence[Any]], columns: Sequence[str], where: str) -> "npt.NDArray[np.float32]":
    found = np.zeros((len(rows), len(columns)), np.float64)
    bad: list[str] = []
    for number, row in enumerate(rows):
        for place, cell in enumerate(row):
            try:
                found[number, place] = float(cell)
            except (TypeError, ValueError):
                bad.append(f"{cell!r:.40} of {columns[place]} in sample {number + 1}")
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise BadInput(
            f"{where}: no numbers: {', '.join(bad[:SHOWN])}{more}: regression learns numbers with a decimal point, "
            "without units or separators of thousands"
        )
    with np.errstate(over="ignore"):
        narrow = found.astype(np.float32)
    if not np.isfinite(narrow).all():
        number, place = (int(one) for one in np.argwhere(~np.isfinite(narrow))[0])
        raise BadInput(f"{where}: {columns[place]} of sample {number + 1} is {found[number, place]}: remove it")
    return narrow


def _by_columns(rows: Sequence[Sequence[Any]], columns: Sequence[str], where: str) -> Targets:
    values = np.zeros((len(rows), len(columns)), np.int64)
    for number, row in enumerate(rows):
        for place, cell in enumerate(row):
            word = "" if is_missing(cell) else str(cell).strip().lower()
            if word not in YES | NO:
                raise BadInput(f"{where}: {columns[place]} of sample {number + 1} is {cell!r:.40}: expected 0 or 1")
            values[number, place] = word in YES
    return Targets(tuple(columns), values)


def all_of(samples: Samples) -> "Array | None":
    """Right answers of all samples, without reading the samples; None where the data set does not keep it."""
    if isinstance(samples, Part | Subset):
        found = all_of(samples.whole)
        return None if found is None else found[samples.indices]
    found = getattr(samples, "labels", None)
    return None if found is None else np.asarray(found)


def spread_of(training: Samples, where: str) -> Spread:
    """Spread of the numbers of the training samples. BadInput where one of them never changes."""
    found = all_of(training)
    if found is None:
        raise BadInput(f"{where}: this data set does not tell its numbers beforehand")
    values = found.reshape(len(found), -1).astype(np.float64)
    deviation = values.std(0)
    if not (deviation > 0).all():
        raise BadInput(f"{where}: every training sample has the same number {values[0, int(deviation.argmin())]:g}")
    return Spread(tuple(values.mean(0).tolist()), tuple(deviation.tolist()))


def said(targets: Targets, task: TrainingTask, most: int = 10) -> str:
    """Numbers with their range, or labels with how many samples have each, for the log and the report."""
    if task is TrainingTask.REGRESSION:
        low, mean, high = (part(targets.values, axis=0) for part in (np.min, np.mean, np.max))
        each = (
            f"{name} {a:g} to {c:g}, mean {b:g}" for name, a, b, c in zip(targets.names, low, mean, high, strict=True)
        )
        return "; ".join(list(each)[:most])
    counts = targets.values.sum(0)
    order = np.argsort(-counts, kind="stable")[:most]
    shown = ", ".join(f"{targets.names[place]} {counts[place]}" for place in order)
    bare = int((targets.values.sum(1) == 0).sum())
    more = ", ..." if len(counts) > most else ""
    return f"{len(counts)} labels: {shown}{more}" + (f"; {bare} samples without any" if bare else "")
