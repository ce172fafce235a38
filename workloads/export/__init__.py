"""From a trained artifact to ONNX, proved equal to torch: `python -m workloads export`; the quantizer's first stage."""
