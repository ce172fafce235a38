"""Gangs: the life of a job whose pods start, fail and end together."""
