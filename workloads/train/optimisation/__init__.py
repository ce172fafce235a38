"""Optimization of a model's weights: optimizer, schedule, average, early stopping, number format, mixed samples."""

from workloads.train.optimisation.number_format import NumberFormat
from workloads.train.optimisation.optimizers import build_optimizer, parameter_groups
from workloads.train.optimisation.schedules import LearningRate, peak_rate

__all__ = ["LearningRate", "NumberFormat", "build_optimizer", "parameter_groups", "peak_rate"]
