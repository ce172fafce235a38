"""Rollouts: how a new revision takes over, by pods, by a gateway, or behind a mirror. Pure."""
