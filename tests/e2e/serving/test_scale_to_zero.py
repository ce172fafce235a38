"""To zero and back with real servers: no request is lost, neither the first ones nor those of the last moment."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e.conftest import Namespace, condition
from tests.e2e.serving.test_inferenceservice import pictures, service, status, trained

pytestmark = pytest.mark.slow
RETENTION = 10
SCALING = {"minReplicas": 0, "maxReplicas": 2, "scaleTarget": 8, "scaleToZeroPodRetentionSeconds": RETENTION}
# A cold start loads torch on a shared core; whoever waits, waits for it.
PATIENCE = 240.0
# The handover takes three seconds, the pods' drain five more; the requests lie around them.
MOMENTS = (0.0, 0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)


async def ask(address: str, body: bytes) -> str:
    """One request on a connection of its own, as its status line or what went wrong."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n"
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address, 80)
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return repr(error)
    return answer.split(b"\r\n", 1)[0].decode() or "closed without a word"


def together(address: str, count: int) -> Counter[str]:
    """So many at once."""

    async def work() -> list[str]:
        bodies = itertools.cycle(pictures())
        return await asyncio.gather(*(ask(address, next(bodies)) for _ in range(count)))

    return Counter(asyncio.run(work()))


def one_by_one(address: str, moments: tuple[float, ...]) -> Counter[str]:
    """One at each of these times, in seconds from now."""

    async def later(seconds: float, body: bytes) -> str:
        await asyncio.sleep(seconds)
        return await ask(address, body)

    async def work() -> list[str]:
        return await asyncio.gather(*(later(*both) for both in zip(moments, itertools.cycle(pictures()), strict=False)))

    return Counter(asyncio.run(work()))


def servers(namespace: Namespace) -> list[str]:
    """Pods with the model; the activator's have no revision."""
    return [
        p["metadata"]["name"] for p in namespace.pods("digits") if "slipway.dev/revision" in p["metadata"]["labels"]
    ]


def reason(found: dict[str, Any]) -> str:
    ready = condition({"status": found}, "Ready")
    return f"{ready.get('status')}/{ready.get('reason')}"


def asleep(namespace: Namespace) -> None:
    status(namespace, lambda s: reason(s) == "True/NoTraffic", "asleep")
    end = time.monotonic() + 120
    while servers(namespace):
        assert time.monotonic() < end, servers(namespace)
        time.sleep(0.5)


def decided(found: dict[str, Any]) -> bool:
    return bool((found.get("autoScaling") or {}).get("desired") == 0)


def test_to_zero_and_back_no_request_is_lost(namespace: Namespace) -> None:
    trained(namespace, "good")
    namespace.apply(service("good", autoScaling=SCALING))
    found = status(namespace, lambda s: reason(s) == "True/Serving", "ready")
    address, url = namespace.get("service", "digits")["spec"]["clusterIP"], found["url"]
    assert together(address, 20) == {"HTTP/1.1 200 OK": 20}

    asleep(namespace)
    started = time.monotonic()
    first = together(address, 200)
    print(f"200 first requests, answered {time.monotonic() - started:.1f} s after the first of them: {first}")
    assert first == {"HTTP/1.1 200 OK": 200}
    awake = status(namespace, lambda s: reason(s) == "True/Serving", "awake")
    assert awake["url"] == url

    for round_ in range(3):
        status(namespace, decided, "told to sleep", 120)
        last = one_by_one(address, tuple(moment + 0.3 * round_ for moment in MOMENTS))
        print(f"around the last moment: {last}")
        assert last == {"HTTP/1.1 200 OK": len(MOMENTS)}

    asleep(namespace)
    # Without anybody to hold a request, a replica serves before the first one comes.
    namespace.kubectl("delete", "pod", "-l", "slipway.dev/activator", "--wait=false")
    status(namespace, lambda s: reason(s) == "True/Serving" and s["replicas"]["ready"], "awake without a request")
    assert together(address, 5) == {"HTTP/1.1 200 OK": 5}


def test_one_activator_is_enough(namespace: Namespace) -> None:
    """At zero one of the two goes, and requests that come meanwhile are held by the other."""
    trained(namespace, "good")
    namespace.apply(service("good", autoScaling=SCALING))
    status(namespace, lambda s: reason(s) == "True/Serving", "ready")
    address = namespace.get("service", "digits")["spec"]["clusterIP"]
    asleep(namespace)
    activators = [p["metadata"]["name"] for p in namespace.pods("digits")]
    assert len(activators) == 2
    namespace.kubectl("delete", "pod", activators[0], "--wait=false")
    last = one_by_one(address, (0.0, 0.2, 0.5, 1.0, 2.0, 4.0))
    assert last == {"HTTP/1.1 200 OK": 6}
