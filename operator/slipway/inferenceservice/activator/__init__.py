"""Activator: the server that stands in for a service with no replicas."""
