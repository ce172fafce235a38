"""Proxy that holds the first requests of a service scaled to zero, and forwards them: `python -m workloads activate`.

It looks at no byte that passes: HTTP with binary tensors and gRPC go through unchanged. The standard library is enough,
and keeps it small: it runs for as long as the service may sleep.
"""
