"""Preparation of strangers' ONNX graphs: what exporters write, brought into the form that rewriting needs."""
