"""Pods of deleted jobs of the same name are known while they live, and nothing is remembered for longer."""

from __future__ import annotations

from typing import Any

from slipway.gang.predecessors import Predecessors
from slipway.runtime.caching.store import Store
from slipway.trainingjob.job import TRAINING_JOBS

KEY = ("team", "job")


def pod(name: str, uid: str, version: int = 1, kind: str = "TrainingJob") -> dict[str, Any]:
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "name": "job", "uid": uid, "controller": True}
    marks = {"slipway.dev/replica-index": "0", "slipway.dev/attempt": uid}
    called = f"job-node-0-a{uid}"
    metadata = {"name": called, "namespace": "team", "uid": name, "resourceVersion": str(version), "labels": marks}
    return {"metadata": {**metadata, "ownerReferences": [owner]}}


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [each["metadata"]["uid"] for each in pods]


def test_pods_that_are_there_at_the_start_are_known() -> None:
    store = Store()
    store.put(pod("old", "1"))
    store.put(pod("other-kind", "9", kind="QuantizationJob"))
    lineage = Predecessors(store, TRAINING_JOBS)
    assert names(lineage.predecessors(KEY, "2")) == ["old"]
    assert lineage.predecessors(("team", "another"), "3") == []


def test_pods_made_later_are_known_by_the_jobs_that_were_looked_at() -> None:
    store = Store()
    lineage = Predecessors(store, TRAINING_JOBS)
    assert lineage.predecessors(KEY, "1") == []
    store.put(pod("a", "1"))
    assert lineage.predecessors(KEY, "1") == [], "its own"
    assert names(lineage.predecessors(KEY, "2")) == ["a"]
    store.observe("DELETED", pod("a", "1", version=2))
    assert lineage.predecessors(KEY, "2") == []


def test_what_is_gone_is_forgotten() -> None:
    store = Store()
    lineage = Predecessors(store, TRAINING_JOBS)
    lineage.predecessors(KEY, "1")
    store.put(pod("a", "1"))
    assert lineage.forget(KEY) == [], "a pod of it still lives"
    assert names(lineage.predecessors(KEY, "2")) == ["a"]
    store.observe("DELETED", pod("a", "1", version=2))
    assert sorted(lineage.forget(KEY)) == ["1", "2"]
    assert lineage.forget(KEY) == []
    assert lineage._known() == {}
