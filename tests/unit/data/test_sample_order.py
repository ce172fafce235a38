"""Which sample is seen when: the same for any number of processes, from any step on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.data import Augmentation, InMemory
from workloads.data.sample_order import ResumableSampler, TrainingSamples, augment, per_sample_random, training_loader


def numbered(count: int) -> InMemory:
    """Images whose label is their index."""
    return InMemory(np.zeros((count, 1, 2, 2), np.uint8), np.arange(count, dtype=np.int64))


def global_batches(
    count: int, world: int, accumulation: int, micro: int, epoch: int, start: int = 0, workers: int = 0
) -> list[set[int]]:
    """The samples of each optimizer step, over all ranks, from step `start` on."""
    by_rank = []
    for rank in range(world):
        samples = TrainingSamples(numbered(count), Augmentation(), seed=5)
        sampler = ResumableSampler(samples, world, rank, shuffle=True, seed=5, drop_last=True)
        sampler.set_epoch(epoch)
        sampler.start = start * accumulation * micro
        batches = [labels.tolist() for _, labels in training_loader(samples, sampler, micro, workers, pin=False)]
        assert len(batches) >= count // (world * accumulation * micro) * accumulation - start * accumulation
        by_rank.append(batches)
    steps = min(len(batches) for batches in by_rank) // accumulation
    return [
        {
            sample
            for batches in by_rank
            for batch in batches[step * accumulation : (step + 1) * accumulation]
            for sample in batch
        }
        for step in range(steps)
    ]


@given(
    count=st.integers(24, 90),
    split=st.sampled_from([(1, 1, 12), (2, 1, 6), (3, 2, 2), (4, 3, 1), (1, 4, 3), (12, 1, 1)]),
    epoch=st.integers(0, 3),
    start=st.integers(0, 1),
)
def test_global_batches_do_not_depend_on_processes_or_restarts(
    count: int, split: tuple[int, int, int], epoch: int, start: int
) -> None:
    reference = global_batches(count, 1, 1, 12, epoch)
    assert len(reference) == count // 12
    assert sum(len(batch) for batch in reference) == len(set().union(*reference))
    assert global_batches(count, *split, epoch, start)[: len(reference) - start] == reference[start:]


def test_epochs_are_shuffled_differently() -> None:
    assert global_batches(48, 1, 1, 12, 0) != global_batches(48, 1, 1, 12, 1)


def test_loader_processes_give_the_same_order() -> None:
    assert global_batches(48, 2, 2, 4, 1, workers=2) == global_batches(48, 2, 2, 4, 1)


def test_augmentation_depends_on_seed_epoch_and_sample_only() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 7)).astype(np.uint8)
    how = Augmentation(flip=True, shift=2)
    together = augment(pixels, how, per_sample_random(1, 2, range(6)))
    alone = [augment(pixels[i : i + 1], how, per_sample_random(1, 2, [i])) for i in range(6)]
    assert np.array_equal(together, np.concatenate(alone))
    assert not np.array_equal(together, augment(pixels, how, per_sample_random(1, 3, range(6))))
    assert not np.array_equal(together, augment(pixels, how, per_sample_random(2, 2, range(6))))


def test_augmentation_mirrors_and_shifts() -> None:
    image = np.arange(1, 26, dtype=np.uint8).reshape(1, 1, 5, 5)
    many = np.repeat(image, 400, axis=0)
    mirrored = augment(many, Augmentation(flip=True), per_sample_random(0, 0, range(400)))
    share = np.mean([np.array_equal(one, image[0, :, :, ::-1]) for one in mirrored])
    assert 0.4 < share < 0.6
    shifted = augment(many, Augmentation(shift=1), per_sample_random(0, 0, range(400)))
    padded = np.pad(image[0, 0], 1)
    windows = {padded[i : i + 5, j : j + 5].tobytes() for i in range(3) for j in range(3)}
    assert {one.tobytes() for one in shifted} == windows


@pytest.mark.parametrize("bit", [0, 8, 32, 63])
def test_random_bits_are_balanced_and_unrelated(bit: int) -> None:
    bits = per_sample_random(0, 0, range(4000)) >> np.uint64(bit) & np.uint64(1)
    later = per_sample_random(0, 1, range(4000)) >> np.uint64(bit) & np.uint64(1)
    assert 0.45 < bits.mean() < 0.55
    assert 0.45 < (bits == later).mean() < 0.55
