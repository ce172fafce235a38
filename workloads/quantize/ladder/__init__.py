"""The ladder: its rungs, their order, the candidates they build, and how those are compared."""
