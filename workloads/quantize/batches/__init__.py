"""Batches of a model's calls: where the samples lie in arrays and answers, and how many fit into one call."""
