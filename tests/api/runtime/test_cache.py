"""Resync against a real server: what no event told, told by a LIST."""

from __future__ import annotations

import pytest

from slipway.runtime.caching.cache import Cache, Change
from slipway.runtime.client.kube import CONFIGMAPS, PODS, Kube
from slipway.runtime.client.resource import Resource, identity_of

pytestmark = pytest.mark.api


async def test_a_gap_is_made_good(kube: Kube, namespace: str) -> None:
    heard: list[tuple[str, str, bool, bool]] = []

    def on_change(resource: Resource, change: Change) -> None:
        heard.append((resource.kind, change.key.name, change.old is not None, change.new is not None))

    cache = Cache(on_change, namespaces=(namespace,))
    cache.add(CONFIGMAPS, selector="mine=yes")
    cache.add(PODS)
    owner = await kube.create(CONFIGMAPS, _map(namespace, "owner"))
    uid, parent = owner["metadata"]["uid"], identity_of(owner, CONFIGMAPS)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}
    for name in ("kept", "lost"):
        await kube.create(CONFIGMAPS, _map(namespace, name, [reference]))
    await kube.create(CONFIGMAPS, {"metadata": {"namespace": namespace, "name": "foreign"}})

    assert await cache.resync(kube) == 3
    assert [o["metadata"]["name"] for o in cache[CONFIGMAPS].children(parent)] == ["kept", "lost"]
    assert await cache.resync(kube) == 0
    assert await cache.resync(kube) == 0

    heard.clear()
    await kube.delete(CONFIGMAPS, namespace, "lost")
    await kube.patch(CONFIGMAPS, namespace, "kept", {"data": {"a": "b"}})
    made = await kube.create(CONFIGMAPS, _map(namespace, "made", [reference]))
    cache[CONFIGMAPS].put(made, quiet=True)
    assert await cache.resync(kube) == 2
    assert sorted(heard) == [("ConfigMap", "kept", True, True), ("ConfigMap", "lost", True, False)]
    assert [o["metadata"]["name"] for o in cache[CONFIGMAPS].children(parent)] == ["kept", "made"]


def _map(namespace: str, name: str, owners: list[dict[str, object]] | None = None) -> dict[str, object]:
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": {"mine": "yes"}, "ownerReferences": owners or []}
    }
