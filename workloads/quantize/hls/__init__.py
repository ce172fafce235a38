"""Circuits for FPGAs: a network as a project of high-level synthesis, its formats and reuse factors, and estimates."""
