"""Data sets of pictures with a class each."""
