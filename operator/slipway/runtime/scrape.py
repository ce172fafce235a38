"""Ask pods what they know: a few short HTTP GETs in the background, of which a reconcile only sees the results.

No reconcile waits for a pod: it asks, goes on with what it knows, and its key is marked when the answers are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import aiohttp

LARGEST = 2**22
"""Bytes of an answer: a pod that says more is not believed."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one URL gave: its text, or why there is none."""

    text: str = ""
    error: str = ""


Answered = Callable[[Mapping[str, Page]], None]


class Scraper:
    """One per process; use it in one event loop."""

    def __init__(self, *, timeout: float = 3.0, concurrency: int = 32) -> None:
        """`timeout` in seconds for each GET."""
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def ask(self, key: Hashable, urls: Mapping[str, str], answered: Answered) -> bool:
        """GET each URL; `answered` hears of all of them by the same names. False while this key's last is under way."""
        if key in self._tasks:
            return False
        task = asyncio.create_task(self._all(urls, answered), name=f"scrape {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return True

    async def close(self) -> None:
        """Drop what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _all(self, urls: Mapping[str, str], answered: Answered) -> None:
        pages = await asyncio.gather(*(self._get(url) for url in urls.values()))
        answered(dict(zip(urls, pages, strict=True)))

    async def _get(self, url: str) -> Page:
        if self._session is None:
            # The slots are the limit; the session's own, a hundred, would stop those who wait long for an answer.
            self._session = aiohttp.ClientSession(trust_env=False, connector=aiohttp.TCPConnector(limit=0))
        try:
            async with self._slots, asyncio.timeout(self._timeout), self._session.get(url, allow_redirects=False) as it:
                body = b""
                async for chunk in it.content.iter_any():
                    body += chunk
                    if len(body) > LARGEST:
                        return Page(error=f"more than {LARGEST} bytes")
                return Page(body.decode(errors="replace")) if it.status == 200 else Page(error=f"HTTP {it.status}")
        except TimeoutError:
            return Page(error=f"no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Page(error=str(error) or type(error).__name__)
