"""A small language model, trained here once from Debian's documentation, and the texts it was trained on."""
