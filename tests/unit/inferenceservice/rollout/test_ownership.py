"""Whatever somebody forges, a service has the pods that it had before: those that its Deployments' ReplicaSets own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.inferenceservice import ownership
from slipway.inferenceservice.observed import host_of
from slipway.inferenceservice.service import DEPLOYMENTS, INFERENCE_SERVICES, REPLICA_SETS
from slipway.runtime.caching.cache import Cache, slim_link
from slipway.runtime.client.resource import PODS, Object, Resource

MARKS = {"slipway.dev/job-uid": "s", "slipway.dev/revision": "aa"}
ACTS = {"slipway.dev/activator": "s"}


def child(resource: Resource | None, name: str, labels: dict[str, str], of: Object | None, **more: Any) -> Object:
    """`resource`: of the owner."""
    about = {"namespace": "team", "uid": name, "name": name, "resourceVersion": "1", **more}
    if of is not None and resource is not None:
        owner = {"apiVersion": resource.api_version, "kind": resource.kind, "controller": True}
        owner |= {"name": of["metadata"]["name"], "uid": of["metadata"]["uid"]}
        about["ownerReferences"] = [owner]
    return {"metadata": {**about, "labels": labels}}


SERVICE = child(None, "svc", {}, None, uid="s")
DEPLOYMENT = child(INFERENCE_SERVICES, "svc-aa", MARKS, SERVICE)
ACTIVATOR = child(INFERENCE_SERVICES, "svc-activator", {"slipway.dev/job-uid": "s"}, SERVICE)
SET, ACTIVATORS_SET = child(DEPLOYMENTS, "set", MARKS, DEPLOYMENT), child(DEPLOYMENTS, "acts", ACTS, ACTIVATOR)
GENUINE = [
    (DEPLOYMENTS, DEPLOYMENT),
    (DEPLOYMENTS, ACTIVATOR),
    (REPLICA_SETS, SET),
    (REPLICA_SETS, ACTIVATORS_SET),
    (PODS, child(REPLICA_SETS, "pod", MARKS, SET)),
    (PODS, child(REPLICA_SETS, "acting", ACTS, ACTIVATORS_SET)),
]
# Who says that he owns it, and as what; `reach` is what a forger can make: any object but a true link of the chain.
CLAIMS: list[tuple[Resource | None, Object | None]] = [
    (None, None),
    (INFERENCE_SERVICES, SERVICE),
    (DEPLOYMENTS, DEPLOYMENT),
    (DEPLOYMENTS, ACTIVATOR),
    (REPLICA_SETS, DEPLOYMENT),
    (DEPLOYMENTS, SET),
    (INFERENCE_SERVICES, SET),
]


def world() -> Cache:
    cache = Cache(lambda resource, change: None)
    for resource in (INFERENCE_SERVICES, DEPLOYMENTS, PODS):
        cache.add(resource)
    cache.add(REPLICA_SETS, slim=slim_link)
    for resource, obj in GENUINE:
        cache[resource].put(obj)
    return cache


def seen(cache: Cache) -> list[list[str]]:
    found = (
        ownership.revisions(cache, SERVICE),
        ownership.serving(cache, SERVICE),
        ownership.activating(cache, SERVICE),
        [made for made in [ownership.activator(cache, SERVICE)] if made is not None],
    )
    return [[obj["metadata"]["uid"] for obj in objects] for objects in found]


def test_the_genuine_ones_are_seen() -> None:
    assert seen(world()) == [["svc-aa"], ["pod"], ["acting"], ["svc-activator"]]


at_home = st.tuples(
    st.sampled_from([PODS, REPLICA_SETS, DEPLOYMENTS]), st.sampled_from(CLAIMS), st.sampled_from([MARKS, ACTS])
)
# In another namespace also the true links, by their true UIDs and under their names.
abroad = st.tuples(
    st.sampled_from([PODS, REPLICA_SETS, DEPLOYMENTS]),
    st.sampled_from([*CLAIMS, (REPLICA_SETS, SET), (REPLICA_SETS, ACTIVATORS_SET)]),
    st.sampled_from([MARKS, ACTS]),
)


@given(st.lists(at_home, max_size=5), st.lists(abroad, max_size=5))
def test_a_forged_object_never_changes_what_is_seen_of_a_service(
    home: list[tuple[Any, Any, Any]], foreign: list[tuple[Any, Any, Any]]
) -> None:
    """At home, a ReplicaSet of the Deployment's is no forgery to Kubernetes: its controllers take it for their own."""
    cache = world()
    for number, (resource, (kind, of), labels) in enumerate(home):
        if resource is REPLICA_SETS and kind is DEPLOYMENTS and of is not SET:
            continue
        cache[resource].put(child(kind, f"forged-{number}", labels, of))
    for number, (resource, (kind, of), labels) in enumerate(foreign):
        for name in (f"forged-{number}", "svc-aa", "svc-activator"):
            cache[resource].put(child(kind, name, labels, of, namespace="other", uid=f"{name}-{number}"))
    assert seen(cache) == [["svc-aa"], ["pod"], ["acting"], ["svc-activator"]]


@pytest.mark.parametrize(
    "labels", [{}, {**MARKS, "slipway.dev/revision": "bb"}, ACTS], ids=["none", "other", "activator"]
)
def test_a_pod_whose_labels_were_changed_is_of_no_revision(labels: dict[str, str]) -> None:
    cache = world()
    cache[PODS].put(child(REPLICA_SETS, "odd", labels, SET))
    assert seen(cache)[1] == ["pod"]


def test_what_is_not_called_as_its_revision_is_no_revision() -> None:
    """The operator deletes old revisions, and with each the ConfigMap of its name."""
    cache = world()
    cache[DEPLOYMENTS].put(
        child(INFERENCE_SERVICES, "settings", {**MARKS, "slipway.dev/revision": "settings"}, SERVICE)
    )
    cache[DEPLOYMENTS].put(child(INFERENCE_SERVICES, "svc-", {**MARKS, "slipway.dev/revision": ""}, SERVICE))
    assert seen(cache)[0] == ["svc-aa"]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "[fd00::1]"),
        ("127.0.0.1", "127.0.0.1"),
        ("169.254.169.254", ""),
        ("fe80::1", ""),
        ("224.0.0.1", ""),
        ("0.0.0.0", ""),
        ("192.0.2.10", ""),
        ("10.0.0.1:80/x?", ""),
        ("", ""),
    ],
)
def test_only_what_can_be_a_pods_address_is_asked(address: str, host: str) -> None:
    assert host_of({"status": {"podIP": address, "hostIP": "192.0.2.10"}}) == host
