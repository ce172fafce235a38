"""Comparison of a candidate with the float model by what the model is for: its task's own measure, sample by sample."""
