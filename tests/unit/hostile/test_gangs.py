"""Gangs of a thousand large pods: rendered and sent one by one, with everything else in between."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from typing import cast

from slipway.reconcile.parallel_requests import AT_ONCE, abreast
from slipway.reconcile.plan import Write
from slipway.runtime.client.kube import Kube
from slipway.runtime.client.resource import PODS
from slipway.runtime.events import EventRecorder, Reporter


async def test_pods_are_rendered_one_in_a_turn_of_the_loop_and_few_are_held_at_once() -> None:
    held, most, turns = 0, 0, []

    def render() -> dict[str, object]:
        time.sleep(0.002)
        return {"metadata": {"name": "p"}}

    async def send(write: Write) -> None:
        nonlocal held, most
        assert write.manifest
        held += 1
        most = max(most, held)
        await asyncio.sleep(0.001)
        held -= 1

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0)
            turns.append(time.monotonic() - began)

    ticking = asyncio.create_task(tick())
    await abreast(send(Write(PODS, render)) for _ in range(200))
    ticking.cancel()
    assert most <= AT_ONCE
    assert len(turns) >= 200, "between any two pods the loop goes on"


def test_an_event_of_a_megabyte_is_kept_as_what_is_written_of_it() -> None:
    """A kubelet's words of any length were the key under which each of 2,048 series was kept."""
    recorder = EventRecorder(cast("Kube", None), Reporter("slipway.dev/operator", "o"))
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"}}
    tracemalloc.start()
    for number in range(100):
        recorder.event(about, "Warning", "ImagePullError", f"{number} " + "ü" * 1_000_000)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 2_000_000
