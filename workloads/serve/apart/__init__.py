"""Reading of large requests in separate processes: what one client sends must not stop the loop that all share.

A thread would not do: the parser holds the interpreter's lock. The process may be slow, may be killed when the
request's time is up, and may have so much memory and no more.
"""

from workloads.serve.apart.lane import ProcessLane
from workloads.serve.apart.pool import ReaderPool, inflated_apart
from workloads.serve.apart.wire import Job

__all__ = ["Job", "ProcessLane", "ReaderPool", "inflated_apart"]
