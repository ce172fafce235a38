"""QuantizationJob v1alpha1, and the settings that `python -m workloads quantize` reads."""
