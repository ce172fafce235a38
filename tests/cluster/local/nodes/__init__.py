"""The nodes of the local cluster."""
