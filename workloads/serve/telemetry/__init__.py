"""Figures of a server: metrics, counts of inferences, the distribution of outputs."""
