"""Slipway: a Kubernetes operator that takes a model from training to launch."""

__version__ = "0.1.0"
