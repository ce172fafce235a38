"""Benchmark of models: speed, size, memory and energy, by `python -m workloads bench`.

Its clock is the quantizer's as well.
"""
