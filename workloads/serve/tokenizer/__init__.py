"""Tokenizer of a served model, and whether padding changes its answers."""
