"""Answers of a model on the evaluation samples, in the runtime that serves it.

Float model and candidates alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.onnx import session as runtime
from workloads.onnx.feeds import SampleCall, Samples, by_sample, filled, fixed_of, rows_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

BOXES = 3  # axes of a detector's output
OUTPUTS_KEPT = 256  # samples whose outputs are kept, for the noise figure


@dataclass(frozen=True)
class Answers:
    """`classes` [n]: the answers; `labels` [n]: the right ones, or None; `outputs` [<=256, c]: the first scores."""

    classes: "npt.NDArray[np.int64]"
    labels: "npt.NDArray[np.int64] | None"
    outputs: "npt.NDArray[np.float32]"

    def __len__(self) -> int:
        return len(self.classes)

    def right(self, reference: "Answers | None" = None) -> "npt.NDArray[np.bool_]":
        """Mask [n] of the right answers, held against the labels, or against the answers of another model."""
        truth = self.labels if reference is None else reference.classes
        if truth is None:
            raise BadInput(
                "accuracy needs labels: add an array `labels` to the evaluation data, or use metric agreement"
            )
        result: npt.NDArray[np.bool_] = self.classes == truth
        return result

    def save(self, path: Path) -> None:
        """Write the answers as .npz, whole or not at all."""
        staged = path.with_name(f".{path.name}.partial")
        labels: dict[str, Any] = {} if self.labels is None else {"labels": self.labels}
        with staged.open("wb") as stream:
            np.savez_compressed(stream, classes=self.classes, outputs=self.outputs, **labels)
        staged.rename(path)

    @classmethod
    def load(cls, path: Path) -> "Answers":
        """Read the answers that `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["classes"], arrays["labels"] if "labels" in arrays.files else None, arrays["outputs"])


def answers(
    model: "onnx.ModelProto | bytes",
    samples: Samples,
    batches: Iterable[list[int]],
    place: int = 0,
    axis: int | None = 0,
) -> Answers:
    """Run the model over the batches. Output number `place` holds a score per class, and its samples along `axis`."""
    session = runtime.session(model)
    classes, labels, outputs, kept = [], [], [], 0
    for chosen in batches:
        batch = samples.read(chosen)
        scores = scores_of(session, batch.feeds, place, axis)
        classes.append(scores.argmax(axis=1).astype(np.int64))
        if batch.labels is not None:
            labels.append(batch.labels)
        if kept < OUTPUTS_KEPT:
            outputs.append(scores[: OUTPUTS_KEPT - kept].astype(np.float32))
            kept += len(outputs[-1])
    if not classes:
        raise BadInput("there are no evaluation samples")
    return Answers(np.concatenate(classes), np.concatenate(labels) if labels else None, np.concatenate(outputs))


def scores_of(
    session: Any, feeds: "dict[str, npt.NDArray[Any]]", place: int = 0, axis: int | None = 0
) -> "npt.NDArray[Any]":
    """An output as [n, classes]. BadInput when it is something else: one number has no largest."""
    scores = outputs_of(session, feeds, place, axis)
    if len(scores) == 1 and (isinstance(feeds, SampleCall) or axis is None) and scores.size == scores.shape[-1]:
        scores = scores.reshape(1, -1)  # other axes of the one sample are of length 1
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise BadInput(
            f"the model's output has shape {scores.shape}, not one row of class scores per sample: "
            "set evaluation.task, and metric agreement or labels"
        )
    return scores


def outputs_of(
    session: Any, feeds: "dict[str, npt.NDArray[Any]]", place: int = 0, axis: int | None = 0
) -> "npt.NDArray[Any]":
    """An output, one row per sample. BadInput when there are fewer, or when the model answers NaN."""
    rows, fixed = rows_of(feeds), fixed_of(session)
    given = feeds if fixed is None else filled(feeds, fixed)
    outputs: npt.NDArray[Any] = np.asarray(session.run(None, given)[place])
    if isinstance(feeds, SampleCall) or axis != 0:
        outputs = by_sample(outputs, feeds, axis, session.get_outputs()[place].shape)
    if axis is not None and (outputs.ndim == 0 or len(outputs) not in {rows, fixed}):
        raise BadInput(f"the model's first output has shape {outputs.shape}, not one row per sample")
    if np.isnan(outputs).any():
        raise BadInput("the model answers NaN for some sample")
    return outputs[:rows]


def sqnr_db(reference: "npt.NDArray[np.float32]", noisy: "npt.NDArray[np.float32]") -> float | None:
    """Power of the reference over power of the difference, in dB; None when there is no difference.

    A detector's numbers [n, boxes, numbers] are pixels and scores: each is taken in its own measure.
    """
    if reference.ndim == BOXES:
        measure = np.sqrt(np.mean(np.square(reference.astype(np.float64)), axis=(0, 1))).clip(min=1e-12)
        reference, noisy = reference / measure, noisy / measure
    noise = float(((reference.astype(np.float64) - noisy) ** 2).sum())
    signal = float((reference.astype(np.float64) ** 2).sum())
    if noise == 0:
        return None
    return round(10 * float(np.log10(max(signal, 1e-300) / noise)), 3)
