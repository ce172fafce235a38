"""What pods told last that are gone: kept for a while, by job, and no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.gang import deleted_pods
from slipway.gang.deleted_pods import KEPT, DeletedPods
from slipway.runtime.caching.store import Change, Key, Store
from slipway.runtime.client.resource import Identity

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Clock:
    """Time as the test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def pod(name: str, job: str = "j", phase: str = "Failed", version: int = 1) -> dict[str, Any]:
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "name": "job", "uid": job, "controller": True}
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}
    return {"metadata": {**metadata, "ownerReferences": [owner]}, "status": {"phase": phase}}


def gone(store: Store, name: str, before: str, after: str, **more: str) -> Change:
    """The pod was in one phase, and is gone in the same or another."""
    store.observe("ADDED", pod(name, phase=before, version=1, **more))
    change = store.observe("DELETED", pod(name, phase=after, version=3, **more))
    assert change is not None
    return change


def identity(job: str) -> Identity:
    return Identity("team", "slipway.dev", "TrainingJob", job)


def names(kept: DeletedPods, job: str = "j") -> list[str]:
    return [each["metadata"]["name"] for each in kept.of(identity(job))]


def test_an_end_that_only_the_deletion_tells_is_kept() -> None:
    """Good ones, too: what was done must not be done again because its pod is gone."""
    kept, store = DeletedPods(Clock()), Store()
    kept.changed(gone(store, "a", "Running", "Failed"))
    kept.changed(gone(store, "b", "Failed", "Failed"))
    kept.changed(gone(store, "c", "Running", "Succeeded"))
    kept.changed(gone(store, "d", "Running", "Running"))
    kept.changed(gone(store, "e", "Running", "Failed", job="other"))
    assert (names(kept), names(kept, "other"), names(kept, "nobody")) == (["a", "b", "c"], ["e"], [])


def test_who_sent_a_pod_away_is_kept() -> None:
    kept, store = DeletedPods(Clock()), Store()
    for name, truth in (("a", "True"), ("b", "False")):
        drained = pod(name, phase="Running", version=3)
        said = {"type": "DisruptionTarget", "status": truth, "reason": "EvictionByEvictionAPI"}
        drained["status"]["conditions"] = [said]
        store.observe("ADDED", pod(name, phase="Running"))
        change = store.observe("DELETED", drained)
        assert change is not None
        kept.changed(change)
    assert names(kept) == ["a"]


def test_pods_of_others_are_not_kept() -> None:
    """A service's pods come and go by the hundred, and nobody asks for them."""
    kept, store = DeletedPods(Clock()), Store()
    other = pod("a")
    other["metadata"]["ownerReferences"][0] |= {"apiVersion": "apps/v1", "kind": "ReplicaSet"}
    store.observe("ADDED", other)
    change = store.observe("DELETED", other | {"metadata": other["metadata"] | {"resourceVersion": "2"}})
    assert change is not None
    kept.changed(change)
    assert kept.of(Identity("team", "apps", "ReplicaSet", "j")) == []


def test_a_pod_that_a_list_misses_is_kept_as_it_was_known() -> None:
    kept, store = DeletedPods(Clock()), Store()
    store.observe("ADDED", pod("a"))
    for change in store.replace([], "9", store.begin(consistent=True)):
        kept.changed(change)
    assert names(kept) == ["a"]


def test_what_changes_and_stays_is_none_of_them() -> None:
    kept = DeletedPods(Clock())
    kept.changed(Change(("team", "a"), None, pod("a")))  # type: ignore[arg-type]
    kept.changed(Change(("team", "a"), pod("a"), pod("a", version=2)))  # type: ignore[arg-type]
    stray = pod("a")
    del stray["metadata"]["ownerReferences"]
    kept.changed(Change(("team", "a"), stray, None))  # type: ignore[arg-type]
    assert names(kept) == []


def test_after_a_while_they_are_forgotten() -> None:
    clock, store = Clock(), Store()
    kept = DeletedPods(clock)
    kept.changed(gone(store, "a", "Failed", "Failed", job="1"))
    clock.now += KEPT
    kept.changed(gone(store, "b", "Failed", "Failed", job="2"))
    assert (names(kept, "1"), names(kept, "2")) == (["a"], ["b"])
    clock.now += timedelta(seconds=1)
    kept.changed(gone(store, "c", "Failed", "Failed", job="2"))
    assert (names(kept, "1"), names(kept, "2")) == ([], ["b", "c"])
    assert list(kept._pods) == [identity("2")]


def test_so_many_are_kept_and_no_more(monkeypatch: Any) -> None:
    monkeypatch.setattr(deleted_pods, "CAPACITY", 3)
    kept, store = DeletedPods(Clock()), Store()
    for index in range(5):
        kept.changed(gone(store, f"p{index}", "Failed", "Failed"))
    assert names(kept) == ["p2", "p3", "p4"]


def test_a_namespace_that_floods_it_loses_its_own_alone(monkeypatch: Any) -> None:
    """Its labels are enough to be kept: one tenant's pods once crowded out everybody's."""
    monkeypatch.setattr(deleted_pods, "CAPACITY", 8)
    kept = DeletedPods(Clock())
    kept.changed(Change(Key("team", "mine"), pod("mine"), None))
    for number in range(100):
        forged = pod(f"forged-{number}", job=f"v{number % 7}")
        forged["metadata"]["namespace"] = "other"
        kept.changed(Change(Key("other", "forged"), forged, None))
    assert names(kept) == ["mine"]
    assert len(kept._went) == sum(kept._of_namespace.values()) == sum(map(len, kept._pods.values())) == 8
