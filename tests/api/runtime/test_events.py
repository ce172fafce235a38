"""Events as a real server takes them, and as `kubectl describe` reads them back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from slipway.runtime.client.kube import CONFIGMAPS, EVENTS, Kube, Resource
from slipway.runtime.client.resource import Object
from slipway.runtime.events import EventRecorder, Reporter
from tests.api.runtime.waiting import until

pytestmark = pytest.mark.api

CORE_EVENTS = Resource("", "v1", "events", "Event")


async def wait_for(kube: Kube, namespace: str, enough: Callable[[list[Object]], bool]) -> list[Object]:
    items: list[Object] = []

    async def look() -> bool:
        items[:] = (await kube.list(EVENTS, namespace)).items
        return enough(items)

    await until(look)
    return items


async def test_an_event_its_series_and_a_hard_one(kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.runtime.events.SERIES_SECONDS", 0.2)
    lost: list[str] = []
    recorder = EventRecorder(kube, Reporter("slipway.dev/operator", "pod-1"), per_second=100, dropped=lost.append)
    about = await kube.create(CONFIGMAPS, {"metadata": {"namespace": namespace, "name": "a" * 253}})
    running = asyncio.create_task(recorder.run())
    for _ in range(5):
        recorder.event(about, "Warning", "Restarting", "pod a failed", action="Restart")
    recorder.event(about, "Normal", "Long", "ü" * 3000)
    [restarting] = [e for e in await wait_for(kube, namespace, lambda es: len(es) == 2) if e["reason"] == "Restarting"]
    assert restarting["regarding"]["uid"] == about["metadata"]["uid"]
    recorder.event(about, "Warning", "Restarting", "pod a failed")
    events = await wait_for(kube, namespace, lambda es: any(e.get("series", {}).get("count") == 6 for e in es))
    assert len(events) == 2
    [core] = [e for e in (await kube.list(CORE_EVENTS, namespace)).items if e["reason"] == "Restarting"]
    assert core["involvedObject"]["name"] == about["metadata"]["name"]
    assert core["message"] == "pod a failed"
    assert lost == []
    running.cancel()


async def test_a_namespace_that_is_gone_costs_a_counted_event_and_nothing_else(kube: Kube) -> None:
    lost: list[str] = []
    recorder = EventRecorder(kube, Reporter("slipway.dev/operator", "pod-1"), per_second=100, dropped=lost.append)
    running = asyncio.create_task(recorder.run())
    nowhere = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "gone", "name": "p", "uid": "u"}}
    recorder.event(nowhere, "Normal", "Seen", "hello")

    async def dropped() -> bool:
        return bool(lost)

    await until(dropped)
    assert lost == ["NotFound"]
    running.cancel()
