"""Policies of a search, each a pure function of its trials' records."""
