"""Edge of the server, for clients without a mesh: keys, cross-origin answers, request ids, times, a log."""

from workloads.serve.edge.edge import Edge
from workloads.serve.edge.keys import Keys

__all__ = ["Edge", "Keys"]
