"""Engines of generation: each a process of its own, which one bad request may kill and which is replaced then."""
