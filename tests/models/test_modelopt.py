"""Our entropy thresholds are those of NVIDIA's published code on the same histograms."""

import numpy as np
import pytest

from tests.models.modelopt import entropy_threshold
from tests.unit.quantize.calibration.test_ranges import SHAPES, distribution, seen
from workloads.quantize.calibration.ranges.entropy import best_threshold

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nvidia() -> object:
    return entropy_threshold()


@pytest.mark.parametrize("levels", [128, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_identical_thresholds(nvidia, shape: str, levels: int) -> None:
    folded = seen(distribution(shape), bits=10).histogram.folded()
    counts = folded[: int(np.flatnonzero(folded)[-1]) + 1]
    assert best_threshold(counts, levels) == nvidia(counts, levels)


def test_identical_on_random_histograms(nvidia) -> None:
    random = np.random.default_rng(17)
    for _ in range(40):
        bins = int(random.integers(130, 400))
        fall = np.exp(-np.arange(bins) / random.uniform(5, 200))
        counts = random.poisson(10 ** random.uniform(0, 5) * fall).astype(np.int64)
        counts[-1] = max(1, counts[-1])
        levels = int(random.choice([128, 256]))
        assert best_threshold(counts, levels) == nvidia(counts, levels)
