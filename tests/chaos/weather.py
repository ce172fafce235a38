"""A proxy with bad weather: API errors, resets, lost answers, delays, watches that break or are too old. Seeded.

Leases are spared: that an operator without its lease ends is a test of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from aiohttp import web

from tests.api.proxy import WriteProxy

# Of each hundred requests, so many meet with this.
ODDS = {"error": 6, "reset": 3, "lost": 4, "slow": 8}
# What `seen` counts of a storm in which all of it was met; which of the errors each request met is chance.
KINDS_OF_WEATHER = frozenset({*ODDS, "fair", "too old", "watch broken"})
ERRORS = (409, 429, 429, 500, 503)
REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


class Weather(WriteProxy):
    """`storm` on: requests fail as `ODDS` say; `seen` counts what happened."""

    def __init__(self, kubeconfig: Path, seed: int) -> None:
        super().__init__(kubeconfig)
        self.storm = False
        self.seen: Counter[str] = Counter()
        self._random = random.Random(seed)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._weather(request)
        except ConnectionResetError:
            # The operator was killed while it asked.
            return web.Response()

    async def _weather(self, request: web.Request) -> web.StreamResponse:
        if not self.storm or "/leases" in request.path:
            return await super()._forward(request)
        if "watch" in request.query:
            return await self._watch(request)
        what = self._random.choices([*ODDS, "fair"], [*ODDS.values(), 100 - sum(ODDS.values())])[0]
        self.seen[what] += 1
        if what == "error":
            return self._refuse(request)
        if what == "slow":
            await asyncio.sleep(self._random.uniform(0.05, 0.6))
        if what == "lost":
            await self._do_and_forget(request)
        if what in ("reset", "lost"):
            return await _hang_up(request)
        return await super()._forward(request)

    def _refuse(self, request: web.Request) -> web.Response:
        code = self._random.choice(ERRORS)
        if code == 409 and request.method != "PATCH":
            code = 503
        self.seen[str(code)] += 1
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": REASONS[code]}
        headers = {"Retry-After": "1"} if code == 429 else {}
        return web.json_response({**status, "message": "bad weather"}, status=code, headers=headers)

    async def _do_and_forget(self, request: web.Request) -> None:
        """The server does it, and nobody hears of it."""
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        body = await request.read()
        async with self._session.request(request.method, request.rel_url, data=body or None, headers=headers) as answer:
            await answer.read()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """Breaks off after some seconds; one in five is told that its version is too old."""
        if self._random.random() < 0.2:
            self.seen["too old"] += 1
            status = '{"kind":"Status","status":"Failure","reason":"Expired","code":410,"message":"too old"}'
            return web.Response(text=f'{{"type":"ERROR","object":{status}}}\n', content_type="application/json")
        try:
            async with asyncio.timeout(self._random.uniform(0.3, 4)):
                return await super()._forward(request)
        except TimeoutError:
            self.seen["watch broken"] += 1
            return await _hang_up(request)


async def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
