"""Connections of strangers: who is let in, how much each may cost, and when each has to go."""
