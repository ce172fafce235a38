"""Real models and data from public packages, end to end; needs a package index, so every test here is `slow`."""
