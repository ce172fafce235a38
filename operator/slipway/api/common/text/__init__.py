"""Fields of data sets of text."""
