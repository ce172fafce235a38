"""What a refused request held is free as soon as its reply is made, and not when the garbage collector comes."""

from __future__ import annotations

import asyncio
import gc
import sys

from workloads.serve.errors import Invalid
from workloads.serve.http import HttpLimits, HttpServer, Reply
from workloads.serve.rest.pending import TaskPending


async def test_a_refused_request_is_gone_with_its_reply() -> None:
    """28,000 refused pictures left 100 MB: the error held its frames, these the promise, and that the error."""
    body = b"x" * 100_000
    server = HttpServer(lambda request: Reply(200), HttpLimits())
    before = sys.getrefcount(body)

    async def refuse(content: bytes) -> Reply:
        raise Invalid(f"{len(content)} bytes")

    async def ask() -> int:
        pending = TaskPending(refuse(body))
        await asyncio.wait([pending.future])
        return server.finish_pending(pending).status

    gc.disable()
    try:
        assert await ask() == 400
        assert sys.getrefcount(body) == before
    finally:
        gc.enable()
