"""Samples of a model's inputs, by index: pictures, tokens, and arrays in files."""
