"""HTTP servers of the operator: probes and metrics, and the endpoint for progress reports."""
