"""Nodes that are being emptied, and the services that hear of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from slipway.inferenceservice.draining import PAUSE, NodeDrains, leaves, leaving
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import NODES, PODS


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ({"unschedulable": True}, True),
        ({"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule", "value": "1"}]}, True),
        ({"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "DeletionCandidateOfClusterAutoscaler", "effect": "PreferNoSchedule"}]}, False),
        ({"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, False),
        ({}, False),
    ],
)
def test_a_cordon_and_autoscalers_empty_a_node_and_other_taints_do_not(spec: dict[str, Any], left: bool) -> None:
    node = {"metadata": {"name": "a", "uid": "a"}, "spec": spec}
    assert leaves(node) is left
    cache = Cache(lambda *_: None)
    placed = {"metadata": {"name": "p"}, "spec": {"nodeName": "a"}}
    assert leaving(cache, [placed]) is None
    cache.add(NODES).put(node)
    assert leaving(cache, [placed, {"metadata": {"name": "q"}, "spec": {"nodeName": "gone"}}]) == (
        {"a"} if left else set()
    )


def test_a_node_that_begins_to_be_emptied_wakes_the_services_that_have_pods_there_and_nobody_else() -> None:
    cache, marked, later = Cache(lambda *_: None), [], []
    store = cache.add(PODS)
    for name, node, kind in (
        ("s", "a", "InferenceService"),
        ("t", "a", "InferenceService"),
        ("u", "b", "InferenceService"),
        ("j", "a", "TrainingJob"),
    ):
        labels = {"slipway.dev/kind": kind, "slipway.dev/job-name": name}
        store.put(
            {"metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels}, "spec": {"nodeName": node}}
        )
    drains = NodeDrains(cache, marked.append, lambda seconds, call: later.append((seconds, call)))

    def change(**specs: dict[str, Any]) -> Any:
        told = {when: {"metadata": {"name": "a"}, "spec": spec} for when, spec in specs.items()}
        return SimpleNamespace(key=Key("", "a"), old=told.get("old"), new=told.get("new"))

    drains.changed(change(old={}, new={"taints": [{"key": "x"}]}))
    assert later == []
    drains.changed(change(old={}, new={"unschedulable": True}))
    drains.changed(change(old={"unschedulable": True}, new={}))
    [(seconds, call)] = later
    assert seconds == PAUSE
    call()
    assert marked == [Key("n", "s"), Key("n", "t")]
