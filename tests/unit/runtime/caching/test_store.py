"""The store's rules, one by one; test_store_races.py tries them all at once."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.runtime.caching.store import TOMBSTONE_SECONDS, Change, Key, Store
from slipway.runtime.client.transform import slim, slim_pod
from tests.unit.runtime.caching.objects import parent, pod


def test_changes_name_the_ghosts_of_a_gap() -> None:
    store = Store()
    ghost, kept = pod("ghost", "u1", 5, parent="j"), pod("kept", "u2", 6)
    store.observe("ADDED", ghost)
    store.observe("ADDED", kept)
    changes = store.replace([kept], "9", store.begin(consistent=True))
    assert changes == [Change(Key("ns", "ghost"), slim(ghost), None)]
    assert store.children(parent("j")) == []


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    store = Store()
    store.observe("ADDED", pod("a", "u1", 5))
    assert store.replace([], "9", store.begin(consistent=True), namespace="other") == []
    assert len(store) == 1


def test_the_echo_of_our_own_write_is_no_news() -> None:
    store = Store()
    store.put(pod("a", "u1", 5))
    assert store.observe("ADDED", pod("a", "u1", 5)) is None
    assert store.observe("MODIFIED", pod("a", "u1", 6)) is None, "only the version moved"
    assert store.observe("MODIFIED", pod("a", "u1", 7, status=1)) is not None


@pytest.mark.parametrize("event", ["ADDED", "MODIFIED", None])
def test_an_event_from_before_our_own_write_does_not_undo_it(event: str | None) -> None:
    store = Store()
    newest = pod("a", "u1", 9, status="decided")
    store.put(newest)
    for version, uid in ((5, "u1"), (8, "u1"), (7, "u0")):
        assert store.observe(event, pod("a", uid, version, status="before")) is None
    assert list(store) == [newest]


def test_an_answer_that_arrives_after_the_object_is_gone_again() -> None:
    store = Store()
    store.observe("ADDED", pod("a", "u1", 5))
    store.observe("DELETED", pod("a", "u1", 6))
    store.put(pod("a", "u1", 5))
    assert len(store) == 0


def test_a_successor_of_the_same_name_is_one_change_with_two_uids() -> None:
    store = Store()
    store.observe("ADDED", pod("a", "u1", 5))
    change = store.observe("ADDED", pod("a", "u2", 8))
    assert change is not None
    assert (change.old or {})["metadata"]["uid"] == "u1"
    assert (change.new or {})["metadata"]["uid"] == "u2"
    assert store.observe("DELETED", pod("a", "u1", 7)) is None
    assert store.observe("MODIFIED", pod("a", "u1", 6)) is None
    assert len(store) == 1


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ({"kind": "Status", "status": "Success"}, None),
        (pod("a", "u1", 5), "2026-01-01T00:00:00Z"),
        (pod("a", "u1", 6), "2026-01-01T00:00:00Z"),
    ],
)
def test_the_answer_to_a_delete(answer: dict[str, Any], left: str | None) -> None:
    store = Store()
    store.put(pod("a", "u1", 5))
    store.put_deleted(pod("a", "u1", 5), answer, "2026-01-01T00:00:00Z")
    kept = store.get("ns", "a")
    assert (kept and kept["metadata"]["deletionTimestamp"]) == left
    store.observe("DELETED", pod("a", "u1", 7))
    assert store.get("ns", "a") is None


def test_after_a_restore_of_etcd_the_server_is_believed() -> None:
    store = Store()
    store.observe("ADDED", pod("a", "u1", 900))
    store.observe("ADDED", pod("b", "u2", 901))
    store.replace([pod("a", "u1", 300, old=True)], "400", store.begin(consistent=True))
    assert [o.get("old") for o in store] == [True]
    assert store.observe("MODIFIED", pod("a", "u1", 401, old=False)) is not None


def test_tombstones_do_not_pile_up() -> None:
    now = [0.0]
    store = Store(clock=lambda: now[0])
    for n in range(2000):
        now[0] += 1
        store.observe("DELETED", pod("a", f"u{n}", n + 1))
    assert len(store._tombstones) == TOMBSTONE_SECONDS + 1


def test_slim_drops_what_nobody_reads_and_leaves_its_argument_alone() -> None:
    fat = pod("a", "u1", 5)
    fat["metadata"] |= {
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "slipway.dev/kept": "1"},
    }
    thin = slim(fat)
    assert thin["metadata"]["annotations"] == {"slipway.dev/kept": "1"}
    assert "managedFields" not in thin["metadata"]
    assert "managedFields" in fat["metadata"]


def test_a_late_deletion_does_not_take_what_is_newer() -> None:
    """The label was lost at 6 and is back at 7; a LIST told us before the watch did."""
    store = Store()
    store.replace([pod("a", "u1", 7)], "8", store.begin(consistent=True))
    assert store.observe("DELETED", pod("a", "u1", 6)) is None
    assert store.get("ns", "a") is not None


def test_a_list_does_not_take_what_was_made_after_its_moment() -> None:
    store = Store()
    mark = store.begin(consistent=True)
    store.observe("ADDED", pod("a", "u1", 12))
    assert store.replace([], "10", mark) == []
    assert store.get("ns", "a") is not None


def test_without_comparable_versions_a_list_leaves_alone_what_was_touched_meanwhile() -> None:
    store = Store()
    store.observe("ADDED", pod("old", "u0", "x1"))
    mark = store.begin(consistent=True)
    store.observe("ADDED", pod("a", "u1", "x3"))
    store.observe("MODIFIED", pod("old", "u0", "x4", new=True))
    store.replace([pod("old", "u0", "x2")], "x2", mark)
    assert sorted((o["metadata"]["name"], o.get("new")) for o in store) == [("a", None), ("old", True)]
    store.replace([], "x9", store.begin(consistent=True))
    assert len(store) == 0


def test_what_our_own_requests_find_wakes_the_key_unless_they_are_sure() -> None:
    """Nothing else would: the watch's echo of the same version is no news any more."""
    told: list[Change] = []
    store = Store(on_change=told.append)
    store.put(pod("ours", "u1", 5), quiet=True)
    assert told == []
    store.put(pod("found", "u2", 6, status="Failed"))
    assert store.observe("ADDED", pod("found", "u2", 6, status="Failed")) is None
    assert [(change.key.name, change.new is not None) for change in told] == [("found", True)]
    store.put_deleted(pod("found", "u2", 6), {"kind": "Status"}, "2026-01-01T00:00:00Z")
    assert store.observe("DELETED", pod("found", "u2", 7)) is None
    assert [(change.key.name, change.new is not None) for change in told[1:]] == [("found", False)]


def test_a_slim_pod_keeps_its_node_and_its_status() -> None:
    whole = pod("a", "u1", 5, spec={"nodeName": "n1", "containers": [{}]}, status={"phase": "Running"})
    thin = slim_pod(whole)
    assert thin == whole | {"spec": {"nodeName": "n1"}}
    assert slim_pod(thin) == thin
    assert slim_pod(pod("a", "u1", 5))["spec"] == {}
