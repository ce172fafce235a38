"""Open Inference Protocol v2 over REST: JSON, and tensors in binary behind it."""
