"""Slipway: a Kubernetes operator that takes a model from training to launch."""
