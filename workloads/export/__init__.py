"""Export of a trained artifact to ONNX, proved equal to torch: `python -m workloads export`.

Also the quantizer's first stage.
"""
