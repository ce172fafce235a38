"""Requests to pods: a short GET, and what Prometheus' text says."""
