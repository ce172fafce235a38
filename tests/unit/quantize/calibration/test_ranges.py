"""The searched ranges against slow references, on synthetic histograms and on the activations of a trained network."""

import time

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from slipway.api.quantization.settings import CalibrationMethod
from tests.unit.quantize.calibration import reference
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.ranges.entropy import FIRST, best_threshold, divergence
from workloads.quantize.calibration.ranges.mse import errors_of
from workloads.quantize.calibration.scale import INT8, UINT8, Levels, Range
from workloads.quantize.calibration.statistics import Statistics, TensorStatistics


def seen(values: np.ndarray, bits: int = 12) -> TensorStatistics:
    tensor = TensorStatistics(bits=bits)
    tensor.end_batch(*tensor.add(values.astype(np.float32)[None]))
    return tensor


def distribution(name: str, size: int = 19997) -> np.ndarray:
    random = np.random.default_rng(11)
    shapes = {
        "normal": random.normal(size=size),
        "relu": np.maximum(random.normal(size=size), 0),
        "heavy tail": random.standard_t(2, size=size),
        "one outlier": np.append(random.normal(size=size - 1), 60.0),
        "two clusters": np.concatenate([random.normal(-3, 0.1, size // 2), random.normal(5, 1, size // 2)]),
        "sparse": random.choice([0.0, 0.5, 4.0, 4.1], size=size),
    }
    return shapes[name].astype(np.float32)


SHAPES = ["normal", "relu", "heavy tail", "one outlier", "two clusters", "sparse"]


@pytest.mark.parametrize(("shape", "levels"), [*((shape, 16) for shape in SHAPES), ("heavy tail", 64)])
def test_entropy_threshold_is_the_definitions(shape: str, levels: int) -> None:
    folded = seen(distribution(shape), bits=8).histogram.folded()
    counts = folded[: int(np.flatnonzero(folded)[-1]) + 1]
    assert best_threshold(counts, levels) == reference.kl_threshold(counts, levels, FIRST)


def test_entropy_divergence_is_scipys() -> None:
    counts = seen(distribution("heavy tail"), bits=9).histogram.folded()
    for kept in (128, 129, 200, 311, 512):
        assert divergence(counts, kept, 128) == pytest.approx(reference.kl_divergence(counts, kept, 128), rel=1e-12)


def test_entropy_is_faster_than_the_plain_loop() -> None:
    counts = seen(distribution("heavy tail", 200000), bits=10).histogram.folded()
    begin = time.process_time()
    found = best_threshold(counts, 128)
    ours = time.process_time() - begin
    begin = time.process_time()
    candidates = range(FIRST, len(counts) + 1, 256)
    for kept in candidates:
        reference.kl_divergence(counts, kept, 128)
    plain = (time.process_time() - begin) * (len(counts) - FIRST) / len(candidates)
    assert FIRST <= found <= len(counts)
    assert plain > 5 * ours


def test_the_librarys_entropy_searches_nothing_at_its_defaults() -> None:
    """Why the search is ours.

    With 128 bins and 128 levels there is one candidate, the whole range (onnxruntime#9597).
    """
    values = distribution("one outlier")
    collector = HistogramCollector("entropy", False, 128, 128, 99.999, "same")
    collector.collect_value({"x": values})
    low, high = collector.compute_entropy()["x"][:2]
    assert (float(low), float(high)) == (values.min(), values.max())
    ours = ranges.find(seen(values), CalibrationMethod.ENTROPY, UINT8, 99.99)
    assert ours.high < 10


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [99.0, 99.9, 99.99, 100.0])
def test_percentile_is_the_librarys_up_to_the_edge(shape: str, share: float) -> None:
    """The library takes the near edge of the bin that holds the quantile, so it keeps less than was asked.

    We take the far one.
    """
    tensor = seen(distribution(shape))
    counts, width = tensor.histogram.counts[0], tensor.histogram.width()
    edges = (np.arange(len(counts) + 1) - tensor.histogram.half) * width
    collector = HistogramCollector("percentile", False, 0, 0, share, "same")
    collector.histogram_dict = {"x": (counts, edges, np.float64(-1e30), np.float64(1e30))}
    if share == 100.0:
        assert ranges.find(tensor, CalibrationMethod.PERCENTILE, UINT8, share) == ranges.find(
            tensor, CalibrationMethod.MIN_MAX, UINT8, share
        )
        return
    low, high = collector.compute_percentile()["x"][:2]
    found = ranges.find(tensor, CalibrationMethod.PERCENTILE, UINT8, share)
    assert found.high == pytest.approx(min(float(high) + width, float(tensor.maximum[0])), abs=1e-9)
    assert found.low == pytest.approx(max(float(low), float(tensor.minimum[0])), abs=width * 1.0001)


@pytest.mark.parametrize("share", [90.0, 99.0, 99.9])
@pytest.mark.parametrize("shape", SHAPES)
def test_percentile_keeps_as_much_as_was_asked(shape: str, share: float) -> None:
    values = distribution(shape)
    for levels in (UINT8, INT8):
        found = ranges.find(seen(values), CalibrationMethod.PERCENTILE, levels, share)
        reach = max(-found.low, found.high)
        inside = np.abs(values) <= reach if levels.symmetric else (values >= found.low) & (values <= found.high)
        assert inside.mean() >= share / 100


@pytest.mark.parametrize(
    "levels", [UINT8, INT8, Levels.of(4, signed=True, symmetric=True), Levels.of(8, signed=False, symmetric=True)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_mse_of_a_range_is_what_quantizing_costs(shape: str, levels: Levels) -> None:
    values = distribution(shape)
    error = errors_of(seen(values), levels)
    top = float(np.abs(values).max())
    for share in (1.0, 0.6, 0.2):
        low = -top * share if levels.symmetric or values.min() < 0 else 0.0
        predicted = error(np.array([low]), np.array([top * share]))[0]
        actual = reference.mean_squared_error(values, Range(low, top * share), levels)
        assert predicted == pytest.approx(actual, rel=0.05, abs=(top / 4096) ** 2 + 1e-12)


@pytest.mark.parametrize("levels", [UINT8, INT8])
@pytest.mark.parametrize("shape", SHAPES)
def test_mse_is_no_worse_than_any_other_method(shape: str, levels: Levels) -> None:
    values = distribution(shape)
    tensor = seen(values)
    costs = {
        method: reference.mean_squared_error(values, ranges.find(tensor, method, levels, 99.9), levels)
        for method in CalibrationMethod
    }
    assert costs[CalibrationMethod.MSE] <= 1.05 * min(costs.values()) + 1e-9


def test_channels_are_searched_one_by_one() -> None:
    random = np.random.default_rng(5)
    weights = random.normal(size=(3, 4000)).astype(np.float32) * np.array([[0.01], [1], [300]], np.float32)
    together = TensorStatistics(rows=3, bits=10)
    together.add(weights)
    for row in range(3):
        alone = seen(weights[row], bits=10)
        for method in set(CalibrationMethod) - {CalibrationMethod.MOVING_AVERAGE}:
            assert ranges.find(together, method, INT8, 99.9, row) == ranges.find(alone, method, INT8, 99.9)


@pytest.mark.parametrize("method", list(CalibrationMethod))
@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [-3.0, -3.0], [1e-30, 2e-30], [0.0, 3e38]])
def test_degenerate_tensors_have_a_range(method: CalibrationMethod, values: list[float]) -> None:
    for levels in (UINT8, INT8):
        found = ranges.find(seen(np.array(values)), method, levels, 99.99)
        assert np.isfinite([found.low, found.high]).all()
        assert found.low <= found.high


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no finite value"):
        ranges.find(seen(np.array([np.nan])), CalibrationMethod.MIN_MAX, UINT8, 99.9)


def test_on_real_activations(activations: Statistics) -> None:
    """Every method on every tensor of the trained network: within what was seen, and entropy as the definition says."""
    assert len(activations) >= 8
    for name, tensor in activations.items():
        widest = ranges.find(tensor, CalibrationMethod.MIN_MAX, UINT8, 99.99)
        for method in CalibrationMethod:
            found = ranges.find(tensor, method, UINT8, 99.99)
            assert widest.low <= found.low <= found.high <= widest.high, name
    folded = activations["relu"].histogram.folded().reshape(-1, 16).sum(axis=1)
    counts = folded[: int(np.flatnonzero(folded)[-1]) + 1]
    assert best_threshold(counts, 64) == reference.kl_threshold(counts, 64, FIRST)
