"""Between our LIST at the start and the watch's own LIST nobody watches: what is deleted then must not stay."""

from __future__ import annotations

import asyncio
from typing import Any

from slipway.runtime.caching.cache import Cache
from slipway.runtime.client.kube import Listing
from slipway.runtime.client.resource import PODS
from tests.unit.runtime.waiting import until


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version)}}


class Lister:
    """Answers LISTs with what is there now."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = list(pods)
        self.version = 10
        self.lists = 0

    async def list(self, *_: Any, **__: Any) -> Listing:
        self.lists += 1
        return Listing([*self.pods], str(self.version))


async def test_what_was_deleted_between_our_list_and_the_watchs_is_found() -> None:
    marked: list[str] = []
    cache = Cache(lambda resource, change: marked.append(change.key.name))
    cache.add(PODS)
    server = Lister(pod("stays", 1), pod("goes", 2))
    await cache.resync(server)  # type: ignore[arg-type]
    server.pods.pop()
    server.version += 1
    marked.clear()
    synced = asyncio.create_task(cache.keep_synced(server))  # type: ignore[arg-type]
    cache.observe(PODS, None, pod("stays", 1))
    await until(lambda: marked == ["goes"])
    assert cache[PODS].get("n", "goes") is None
    synced.cancel()


async def test_a_watch_that_lists_a_thousand_objects_costs_one_resync() -> None:
    cache = Cache(lambda resource, change: None)
    cache.add(PODS)
    server = Lister(*(pod(f"p{number}", number) for number in range(1000)))
    await cache.resync(server)  # type: ignore[arg-type]
    synced = asyncio.create_task(cache.keep_synced(server))  # type: ignore[arg-type]
    for each in server.pods:
        cache.observe(PODS, None, each)
        if each["metadata"]["name"].endswith("00"):
            await asyncio.sleep(0)
    await until(lambda: server.lists == 2)
    await asyncio.sleep(0.01)
    assert server.lists == 2
    synced.cancel()
