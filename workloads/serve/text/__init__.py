"""Texts in, for models that take token numbers: tokenizer, padding, and how both protocols and `/predict` reach it."""
