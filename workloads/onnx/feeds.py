"""Feeds of one call, and its answers by sample: rows of a batch, or one whole sample, neither cut nor repeated."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Feeds = dict[str, npt.NDArray[Any]]
    Labels = npt.NDArray[np.int64]

BATCH = re.compile(r".*batch.*|bsz?|n|b", re.IGNORECASE)


class SampleCall(dict[str, Any]):
    """Inputs by name of a call that is one sample: its axes are the model's own, and none counts samples."""


def rows_of(feeds: "Mapping[str, npt.NDArray[Any]]") -> int:
    """Number of samples that a call holds."""
    return 1 if isinstance(feeds, SampleCall) else len(next(iter(feeds.values())))


@dataclass(frozen=True)
class Batch:
    """Inputs by name, and the classes if they are known."""

    feeds: "Feeds"
    labels: "Labels | None"

    def __len__(self) -> int:
        return rows_of(self.feeds)


class Samples(Protocol):
    """Samples by index. `digest` fixes their content, `name` is for people; `whole`: each is a call of its own."""

    digest: str
    name: str
    labelled: bool
    whole: bool
    classes: int  # of the boxes, in a data set with boxes, -1 where only the model says how many; else 0

    def __len__(self) -> int:
        """Number of samples."""

    def weight(self, index: int) -> int:
        """Bytes of a sample's inputs; 1 where all have the same."""

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """The chosen samples in lists of at most `size` that fit into one call of the model."""

    def read(self, batch: Sequence[int]) -> Batch:
        """One of these lists. BadInput for values that are not finite, naming the sample."""


def filled(feeds: "Mapping[str, npt.NDArray[Any]]", length: int) -> "Feeds":
    """The batch at exactly this length: its samples come again from the start; a whole call as it is."""
    if isinstance(feeds, SampleCall):
        return feeds
    return {name: np.concatenate([value] * -(-length // len(value)))[:length] for name, value in feeds.items()}


def fixed_of(session: Any) -> int | None:
    """The batch length that is burnt into a session's model, or None."""
    shapes = [port.shape for port in session.get_inputs()]
    return next((int(shape[0]) for shape in shapes if shape and isinstance(shape[0], int)), None)


def counts_samples(shape: Sequence[Any]) -> bool:
    """Tell whether an output's first axis is a batch, by its length (1) or its name: one sample has one row of it.

    `shape`: lengths, names, or None, as ONNX Runtime tells them.
    """
    return len(shape) > 1 and (shape[0] == 1 or (isinstance(shape[0], str) and BATCH.fullmatch(shape[0]) is not None))


def by_sample(
    values: "npt.NDArray[Any]", feeds: "Mapping[str, npt.NDArray[Any]]", axis: int | None, shape: Sequence[Any]
) -> "npt.NDArray[Any]":
    """An answer [samples, ...], whose samples lie along `axis`; None: all of it belongs to the one sample of the call.

    Too short or too long an answer stays so: who asked says in words what is wrong. `shape`: as the model declares it.
    """
    if isinstance(feeds, SampleCall) or axis is None:
        return values if values.ndim > 1 and len(values) == 1 and counts_samples(shape) else values[None]
    return np.moveaxis(values, axis, 0) if values.ndim > axis else values
