"""Checkpoints of a training, and its best weights."""
