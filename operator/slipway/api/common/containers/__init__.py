"""Containers of a pod: what a user writes of one, and its environment variables."""
