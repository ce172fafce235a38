"""Order in which each process sees the samples, and their random changes. Used by the training loop.

Everything here is a function of (seed, epoch, position in the epoch), never of how many processes there are or of what
ran before: so a resumed run, on more or fewer processes, goes on with exactly the samples that would have come next.
"""

import signal
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, get_worker_info

from workloads.data.datasets import Augmentation, Samples
from workloads.data.detection.box_augmentation import moved
from workloads.errors import TOLD

if TYPE_CHECKING:
    import numpy.typing as npt

Batch = tuple[torch.Tensor, torch.Tensor]
NOTHING = -1  # class of a mask where no picture is: it is not learned
BOXED = 3  # axes of targets that are boxes: picture, box, numbers; masks have as many, and whole numbers


class ResumableSampler(DistributedSampler[int]):
    """A DistributedSampler that can start inside an epoch.

    Rank r of w gets every w-th index of the epoch's permutation, so the ranks' n-th batches together are always the
    n-th global batch of that permutation, whatever w is. The tail that fills no global batch is left for another epoch.
    """

    start = 0  # samples of this rank to leave out at the beginning of the epoch

    def __iter__(self) -> Iterator[int]:
        return islice(super().__iter__(), self.start, None)

    def __len__(self) -> int:
        return self.num_samples - self.start


class TrainingSamples(Dataset[Batch]):
    """Batches of samples, pictures augmented. A DataLoader calls `__getitems__` with a whole batch of indices."""

    def __init__(self, images: Samples, augmentation: Augmentation, seed: int) -> None:
        self.images = images
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """A batch; from a loader process also what is to be raised, since torch would put a traceback for its words."""
        try:
            return self._batch(indices)
        except TOLD as error:
            if get_worker_info() is None:
                raise
            return error

    def _batch(self, indices: Sequence[int]) -> Batch:
        drawn = getattr(self.images, "drawn", None)  # own code's random changes, which shall be found again
        if drawn is not None:
            pixels, labels = drawn(indices, per_sample_random(self.seed, self.epoch, indices))
        else:
            pixels, labels = self.images.batch(indices)
        if self.augmentation != Augmentation():
            bits = per_sample_random(self.seed, self.epoch, indices)
            if labels.ndim == BOXED and labels.dtype.kind == "f":
                pixels, labels = moved(pixels, labels, self.augmentation, bits)
            elif labels.ndim == BOXED:
                pixels = augment(pixels, self.augmentation, bits)
                labels = augment(labels[:, None], self.augmentation, bits, outside=NOTHING)[:, 0]
            else:
                pixels = augment(pixels, self.augmentation, bits)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels)


def as_is(batch: Any) -> Any:
    """Return the batch as it is: `__getitems__` has finished it, so nothing is left to collate.

    (A function and no lambda: loader processes import it.)
    """
    return batch


def training_loader(
    samples: TrainingSamples, sampler: ResumableSampler, batch_size: int, workers: int, pin: bool
) -> Iterator[Batch]:
    """Batches of one rank; loader processes are started anew each epoch, so they see the epoch's number.

    They are forked: they only decode, and a server of theirs would import torch for each of them once more.
    """
    loader = DataLoader(
        samples,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=as_is,
        drop_last=True,
        pin_memory=pin,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_start_loader_process,
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _start_loader_process(_number: int) -> None:
    """Reset SIGTERM in a loader process: the trainer answers it, and a loader must not inherit that and outlive it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def per_sample_random(seed: int, epoch: int, indices: Sequence[int]) -> "npt.NDArray[np.uint64]":
    """64 random bits per sample from (seed, epoch, index).

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) as a counter-based generator.
    """
    golden, first, second = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
    with np.errstate(over="ignore"):
        state = np.asarray(indices, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32)) + np.uint64(epoch) * golden
        for _ in range(2):  # twice: neighbouring seeds, epochs and indices must not give related bits
            state = state + golden
            state = (state ^ (state >> np.uint64(30))) * first
            state = (state ^ (state >> np.uint64(27))) * second
            state = state ^ (state >> np.uint64(31))
    return state


def augment(
    pixels: "npt.NDArray[Any]", how: Augmentation, bits: "npt.NDArray[np.uint64]", outside: int = 0
) -> "npt.NDArray[Any]":
    """Mirror and shift each image by its own bits. [n, c, h, w] in and out, `outside` where nothing was."""
    if how.flip:
        mirrored = (bits & np.uint64(1)).astype(bool)
        pixels = np.where(mirrored[:, None, None, None], pixels[..., ::-1], pixels)
    if how.shift:
        count, _, height, width = pixels.shape
        span = np.uint64(2 * how.shift + 1)
        down = ((bits >> np.uint64(8)) % span).astype(np.int64)
        right = ((bits >> np.uint64(32)) % span).astype(np.int64)
        margin = (how.shift, how.shift)
        padded = np.pad(pixels, ((0, 0), (0, 0), margin, margin), constant_values=outside)
        rows = (down[:, None] + np.arange(height))[:, None, :, None]
        columns = (right[:, None] + np.arange(width))[:, None, None, :]
        pixels = padded[
            np.arange(count)[:, None, None, None], np.arange(pixels.shape[1])[None, :, None, None], rows, columns
        ]
    return pixels
