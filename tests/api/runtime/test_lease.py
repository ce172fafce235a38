"""Two candidates and a real Lease: one leads, a release hands over at once, a death after the lease has run out."""

from __future__ import annotations

import asyncio
import time

import pytest

from slipway.runtime.client.errors import NotLeading
from slipway.runtime.client.kube import CONFIGMAPS, LEASES, Kube, KubeConfig
from slipway.runtime.client.resource import name_of
from slipway.runtime.conditions import parse_time
from slipway.runtime.lease import Lease, Times, make_identity
from tests.api.stage import PATIENCE
from tests.cluster.local.control_plane import ControlPlane

pytestmark = pytest.mark.api

TIMES = Times(duration=3, renew_deadline=2, retry=0.4)


def candidate(kube: Kube, namespace: str, host: str) -> Lease:
    return Lease(kube, namespace, "operator", make_identity(host), times=TIMES)


async def test_hand_over_by_release(kube: Kube, namespace: str) -> None:
    first, second = candidate(kube, namespace, "a"), candidate(kube, namespace, "b")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    done, _ = await asyncio.wait([holding, waiting], timeout=4)
    assert not done, "the first renews, the second stands by"
    spec = (await kube.get(LEASES, namespace, "operator"))["spec"]
    assert spec["holderIdentity"] == first.identity
    assert parse_time(spec["renewTime"]) >= parse_time(spec["acquireTime"])

    holding.cancel()
    await first.release()
    started = time.monotonic()
    await asyncio.wait_for(waiting, 5 * PATIENCE)
    assert time.monotonic() - started < (2 * TIMES.retry + 1) * PATIENCE
    assert (first.leading(), second.leading()) == (False, True)
    assert (await kube.get(LEASES, namespace, "operator"))["spec"]["leaseTransitions"] == 1


async def test_after_a_death_the_other_waits_the_lease_out(kube: Kube, namespace: str) -> None:
    first, second = candidate(kube, namespace, "a"), candidate(kube, namespace, "b")
    await first.acquire()
    started = time.monotonic()
    await asyncio.wait_for(second.acquire(), 20)
    assert time.monotonic() - started >= TIMES.duration - 0.1
    assert not first.leading()


async def test_a_leader_that_is_overthrown_notices_and_may_not_write(
    kube: Kube, namespace: str, plane: ControlPlane
) -> None:
    lease = candidate(kube, namespace, "a")
    await lease.acquire()
    async with Kube(KubeConfig.load(plane.kubeconfig), gate=lease.seconds_left) as gated:
        await gated.create(CONFIGMAPS, {"metadata": {"namespace": namespace, "name": "while-leading"}})
        await kube.patch(LEASES, namespace, "operator", {"spec": {"holderIdentity": "usurper"}})
        await asyncio.wait_for(lease.hold(), 10)
        with pytest.raises(NotLeading):
            await gated.create(CONFIGMAPS, {"metadata": {"namespace": namespace, "name": "afterwards"}})
        names = {name_of(there) for there in (await gated.list(CONFIGMAPS, namespace)).items}
        assert ("while-leading" in names, "afterwards" in names) == (True, False)
