"""Scale and zero point against ONNX Runtime's own functions, over thousands of random ranges."""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.quant_utils import compute_scale_zp, get_qmin_qmax_for_qType, quantize_nparray

from workloads.quantize.calibration.scale import Levels, Range, fake_quantize, scale_and_zero_point

TYPES = {
    (8, False): onnx.TensorProto.UINT8,
    (8, True): onnx.TensorProto.INT8,
    (16, False): onnx.TensorProto.UINT16,
    (16, True): onnx.TensorProto.INT16,
}
# The library reduces 8 bits only.
CASES = [(bits, signed, reduced) for bits, signed in TYPES for reduced in (False, True) if bits == 8 or not reduced]


def ranges(count: int) -> list[Range]:
    random = np.random.default_rng(7)
    ends = random.normal(size=(count, 2)) * 10.0 ** random.uniform(-30, 30, size=(count, 1))
    special = [
        (0.0, 0.0),
        (0.0, 1.0),
        (-1.0, 0.0),
        (0.5, 2.0),
        (-2.0, -0.5),
        (-3e38, 3e38),
        (1e-45, 1e-40),
        (0.0, 1e-38),
    ]
    return [Range(float(np.float32(min(pair))), float(np.float32(max(pair)))) for pair in [*ends, *special]]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("bits", "signed", "reduced"), CASES)
def test_identical_to_the_library(bits: int, signed: bool, symmetric: bool, reduced: bool) -> None:
    least, greatest = get_qmin_qmax_for_qType(TYPES[bits, signed], reduce_range=reduced, symmetric=symmetric)
    levels = Levels.of(bits, signed=signed, symmetric=symmetric, reduced=reduced)
    assert (levels.least, levels.greatest) == (int(least), int(greatest))
    for values in ranges(1000):
        zero, scale = compute_scale_zp(np.float32(values.low), np.float32(values.high), least, greatest, symmetric)
        assert scale_and_zero_point(values, levels) == (float(scale), int(zero)), values


def test_quantizing_is_identical_to_the_library() -> None:
    random = np.random.default_rng(3)
    x = np.concatenate([random.normal(size=20000) * 3, np.arange(-40, 40) / 8]).astype(np.float32)
    levels = Levels.of(8, signed=False, symmetric=False)
    for values in (Range(-1.0, 2.0), Range(0.0, 31.875), Range(-8.0, 0.0)):
        scale, zero = scale_and_zero_point(values, levels)
        integers = quantize_nparray(onnx.TensorProto.UINT8, x, np.float32(scale), np.uint8(zero))
        expected = (integers.astype(np.float32) - zero) * np.float32(scale)
        np.testing.assert_array_equal(fake_quantize(x, scale, zero, levels), expected)
