"""The calibration statistics: any split, order, shard or restart gives the same numbers, exactly."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workloads.errors import Corrupt
from workloads.quantize.calibration import statistics
from workloads.quantize.calibration.histogram import EMPTY, Histogram
from workloads.quantize.calibration.statistics import TensorStatistics

quick = settings(deadline=None, max_examples=60)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)
BATCHES = st.lists(arrays(np.float32, st.integers(1, 40), elements=FLOATS), min_size=1, max_size=8)


def collected(batches: list[np.ndarray], bits: int = 5) -> TensorStatistics:
    result = TensorStatistics(bits=bits)
    for batch in batches:
        result.end_batch(*result.add(batch[None]))
    return result


def as_tuple(tensor: TensorStatistics) -> tuple[object, ...]:
    return (
        tensor.histogram.counts.tolist(),
        tensor.histogram.exponents.tolist(),
        tensor.minimum.tolist(),
        tensor.maximum.tolist(),
        (tensor.count, tensor.not_finite, tensor.batches, tensor.minimum_sums, tensor.maximum_sums),
    )


@quick
@given(BATCHES, st.randoms(use_true_random=False))
def test_order_does_not_matter(batches: list[np.ndarray], order: random.Random) -> None:
    shuffled = list(batches)
    order.shuffle(shuffled)
    assert as_tuple(collected(batches)) == as_tuple(collected(shuffled))


@quick
@given(BATCHES, st.data())
def test_merging_shards_is_one_pass(batches: list[np.ndarray], data: st.DataObject) -> None:
    shard = data.draw(st.lists(st.integers(0, 3), min_size=len(batches), max_size=len(batches)))
    merged = TensorStatistics(bits=5)
    for number in data.draw(st.permutations(range(4))):
        merged.merge(collected([batch for batch, owner in zip(batches, shard, strict=True) if owner == number]))
    assert as_tuple(merged) == as_tuple(collected(batches))


@quick
@given(BATCHES)
def test_splitting_a_batch_changes_no_histogram(batches: list[np.ndarray]) -> None:
    whole, split = Histogram(1, 5), Histogram(1, 5)
    for batch in batches:
        whole.add(batch[None])
        for value in batch:
            split.add(np.array([[value]], np.float32))
    assert whole.counts.tolist() == split.counts.tolist()
    assert whole.exponents.tolist() == split.exponents.tolist()


@quick
@given(arrays(np.float32, st.integers(1, 200), elements=FLOATS))
def test_every_value_is_counted_in_its_bin(values: np.ndarray) -> None:
    histogram = Histogram(1, 6)
    histogram.add(values[None])
    assert histogram.counts.sum() == values.size
    width = histogram.width()
    # Exact: the values and the width are dyadic, and Python's fractions do not round.
    from fractions import Fraction

    expected = np.zeros(2 * histogram.half, np.int64)
    for value in values:
        expected[Fraction(float(value)) // Fraction(width) + histogram.half] += 1
    assert histogram.counts[0].tolist() == expected.tolist()


@quick
@given(arrays(np.float32, st.integers(1, 60), elements=FLOATS), FLOATS.filter(bool))
def test_the_range_is_never_less_than_half_used(values: np.ndarray, other: float) -> None:
    values = np.append(values, np.float32(other))
    histogram = Histogram(1, 6)
    histogram.add(values[None])
    reach = histogram.half * histogram.width()
    assert reach / 2 <= float(np.abs(values).max()) < reach or float(np.abs(values).max()) == reach / 2


def test_zeros_take_part_in_any_later_range() -> None:
    histogram = Histogram(1, 5)
    histogram.add(np.zeros((1, 7), np.float32))
    assert histogram.exponents[0] == EMPTY
    histogram.add(np.array([[3.0]], np.float32))
    assert histogram.counts[0, histogram.half] == 7
    assert histogram.counts.sum() == 8


def test_memory_does_not_grow_with_the_samples() -> None:
    tensor = TensorStatistics()
    for scale in (1e-20, 1.0, 1e20):
        tensor.add(np.full((1, 3_000_000), scale, np.float32))
    assert tensor.histogram.counts.nbytes == 65536
    assert tensor.count == 9_000_000


def test_what_is_not_finite_is_counted_apart() -> None:
    tensor = TensorStatistics()
    tensor.end_batch(*tensor.add(np.array([[1.0, np.nan, -np.inf, -2.0, np.inf]], np.float32)))
    tensor.end_batch(*tensor.add(np.array([[np.nan]], np.float32)))
    assert (tensor.count, tensor.not_finite, tensor.batches) == (2, 4, 1)
    assert (tensor.minimum[0], tensor.maximum[0]) == (-2.0, 1.0)


@settings(deadline=None, max_examples=15)
@given(batches=BATCHES)
def test_saved_and_loaded_is_the_same(tmp_path_factory: pytest.TempPathFactory, batches: list[np.ndarray]) -> None:
    path = tmp_path_factory.mktemp("statistics") / "shard.npz"
    statistics.save(path, {"a/b:0": collected(batches)}, {"cursor": 3})
    loaded, about = statistics.load(path)
    assert about == {"cursor": 3}
    assert as_tuple(loaded["a/b:0"]) == as_tuple(collected(batches))


@pytest.mark.parametrize("cut", [0, 10, 300])
def test_a_damaged_file_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "shard.npz"
    statistics.save(path, {"x": collected([np.arange(9, dtype=np.float32)])}, {})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Corrupt, match=r"shard\.npz"):
        statistics.load(path)
