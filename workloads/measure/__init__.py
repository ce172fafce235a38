"""Measurements that several commands take: durations, memory, and how sure a difference is."""
