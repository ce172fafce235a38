"""Smaller models: pruning, low rank and distillation, each a function of a model. Used by trainer and quantizer."""
