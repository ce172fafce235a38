"""Calibration: statistics of a model's tensors, and the ranges and scales chosen from them."""
