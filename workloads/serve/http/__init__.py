"""HTTP/1.1 from bytes to requests and back: httptools parses, one thin asyncio.Protocol per connection does the rest.

Knows nothing of models. Everything a client may be slow, large or wrong with is bounded here.
"""

from workloads.serve.http.message import Pending, Reply, Request
from workloads.serve.http.server import HttpLimits, HttpServer
from workloads.serve.http.stream import Stream

__all__ = ["HttpLimits", "HttpServer", "Pending", "Reply", "Request", "Stream"]
