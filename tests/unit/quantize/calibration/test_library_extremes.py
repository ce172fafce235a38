"""Min-max and moving average on a real network: ONNX Runtime's own calibrators find the same numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import MinMaxCalibrater

from slipway.api.quantization.settings import CalibrationMethod
from tests.unit.quantize.conftest import CALIBRATION
from workloads import artifact
from workloads.onnx import file
from workloads.onnx.samples.sources import calibration_samples
from workloads.quantize.calibration import ranges
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.scale import UINT8

LENGTHS = (16, 16, 7)  # the last batch is shorter


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches for the library."""

    def __init__(self, batches: list[dict[str, np.ndarray]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


@pytest.fixture(scope="module")
def batches(digits: Path, exported: Any) -> list[dict[str, np.ndarray]]:
    samples = calibration_samples(
        CALIBRATION, file.inputs_of(exported), artifact.read(digits).description.preprocessing
    )
    ends = np.cumsum(LENGTHS)
    return [samples.read(range(end - n, end)).feeds for end, n in zip(ends, LENGTHS, strict=True)]


@pytest.mark.parametrize("moving", [False, True], ids=["min-max", "moving-average"])
def test_identical_to_the_library(
    exported: Any, batches: list[dict[str, np.ndarray]], tmp_path: Path, moving: bool
) -> None:
    onnx.save(exported, tmp_path / "model.onnx")
    library = MinMaxCalibrater(
        tmp_path / "model.onnx", augmented_model_path=tmp_path / "augmented.onnx", moving_average=moving
    )
    library.augment_graph()
    library.create_inference_session()
    library.collect_data(Reader(batches))
    theirs = library.compute_data()
    observer, seen = Observer(exported), {}
    for feeds in batches:
        observer.observe(feeds, seen)
    method = CalibrationMethod.MOVING_AVERAGE if moving else CalibrationMethod.MIN_MAX
    names = set(seen) & set(theirs.keys())
    assert len(names) >= 8
    for name in names:
        low, high = (float(np.asarray(end).item()) for end in theirs[name].range_value)
        found = ranges.find(seen[name], method, UINT8, 99.99)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-7), name
