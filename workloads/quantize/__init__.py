"""Quantization, from a trained artifact to a quantized ONNX model that has passed its gates.

`python -m workloads quantize --config job.json`.
"""
