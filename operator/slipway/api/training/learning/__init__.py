"""Optimizer and schedule of a run, and its experiment tracking."""
