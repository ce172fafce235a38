"""ONNX and LiteRT models as files and sessions, and the samples that they are fed."""
