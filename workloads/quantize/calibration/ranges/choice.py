"""Choice of the range that the integers cover of a tensor's values.

One function per method, each from the same statistics.
"""

from slipway.api.quantization.settings import CalibrationMethod
from workloads.quantize.calibration.ranges.entropy import entropy
from workloads.quantize.calibration.ranges.minmax import min_max, moving_average, percentile
from workloads.quantize.calibration.ranges.mse import mse
from workloads.quantize.calibration.scale import Levels, Range
from workloads.quantize.calibration.statistics import TensorStatistics


def find(statistics: TensorStatistics, method: CalibrationMethod, levels: Levels, share: float, row: int = 0) -> Range:
    """The range that `method` chooses. `share` is the percentile; ValueError when nothing finite was seen."""
    if statistics.count == 0:
        raise ValueError("no finite value was seen")
    if method is CalibrationMethod.MIN_MAX:
        return min_max(statistics, row)
    if method is CalibrationMethod.MOVING_AVERAGE:
        return moving_average(statistics, row)
    if method is CalibrationMethod.PERCENTILE:
        return percentile(statistics, share, levels, row)
    if method is CalibrationMethod.ENTROPY:
        return entropy(statistics, levels, row)
    return mse(statistics, levels, row)
