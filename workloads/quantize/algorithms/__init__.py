"""Algorithms of quantization, one published method a file, each a function of a graph."""
