"""Figures of a training: progress, throughput, FLOPs, traces."""
