"""The store against a small model of an API server: whatever races, it ends up equal and never goes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slipway.runtime.slim import slim, slim_pod
from slipway.runtime.store import TOMBSTONE_SECONDS, Change, Key, Mark, Store
from tests.unit.runtime.effort import examples

NAMES = st.sampled_from(["p0", "p1", "p2"])


def pod(name: str, uid: str, version: object, *, parent: str = "", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    if parent:
        metadata["ownerReferences"] = [{"uid": "x", "name": "x"}, {"uid": parent, "name": "j", "controller": True}]
    return {"metadata": metadata, **more}


class Server:
    """A log of what happened to labelled pods; a watch reads it in order, a LIST sees one of its moments."""

    def __init__(self, opaque: bool) -> None:
        self.opaque = opaque
        self.version = 10
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.history: list[tuple[int, dict[str, dict[str, Any]]]] = [(10, {})]
        self.uids = 0

    @property
    def now(self) -> dict[str, dict[str, Any]]:
        return self.history[-1][1]

    def text(self, version: int) -> str:
        return f"v{version}x" if self.opaque else str(version)

    def write(self, event: str, obj: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        name = obj["metadata"]["name"]
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": self.text(self.version)}}
        state = dict(self.now)
        state.pop(name, None)
        if event != "DELETED":
            state[name] = obj
        self.history.append((self.version, state))
        self.log.append((self.version, event, obj))
        return obj

    def create(self, name: str) -> dict[str, Any]:
        self.uids += 1
        return self.write("ADDED", pod(name, f"u{self.uids}", 0, parent=f"job{self.uids % 2}", n=self.version))


class StoreMachine(RuleBasedStateMachine):
    """Random writes, an ordered but lagging watch that may lose a stretch, and LISTs that race with it all."""

    opaque = False

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(self.opaque)
        self.store = Store()
        self.position = 0
        self.gap = False
        self.listing: tuple[Mark, int] | None = None
        self.newest: dict[str, int] = {}
        self.hidden: dict[str, dict[str, Any]] = {}

    def observe(self, entry: tuple[int, str, dict[str, Any]]) -> None:
        self.store.observe(entry[1], entry[2])

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        if name not in self.server.now and name not in self.hidden:
            self.server.create(name)

    @rule(name=NAMES)
    def create_and_put_the_answer(self, name: str) -> None:
        if name not in self.server.now and name not in self.hidden:
            self.store.put(self.server.create(name))

    @rule(name=NAMES)
    def change(self, name: str) -> None:
        if name in self.server.now:
            self.server.write("MODIFIED", self.server.now[name] | {"n": self.server.version})

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.server.now:
            self.server.write("DELETED", self.server.now[name])
        self.hidden.pop(name, None)

    @rule(name=NAMES)
    def lose_the_label_or_get_it_back(self, name: str) -> None:
        """A selecting watch shows it as DELETED and ADDED, with the same UID."""
        if name in self.server.now:
            self.hidden[name] = self.server.write("DELETED", self.server.now[name])
        elif name in self.hidden:
            self.server.write("ADDED", self.hidden.pop(name))

    @rule(count=st.integers(1, 4))
    def watch_delivers(self, count: int) -> None:
        for entry in self.server.log[self.position : self.position + count]:
            self.observe(entry)
            self.position += 1

    @rule()
    def watch_restarts_at_the_present(self) -> None:
        """After a 410: what happened since is never told, and what is there is told again as type None."""
        self.gap = self.gap or self.position < len(self.server.log)
        self.position = len(self.server.log)
        for obj in self.server.now.values():
            self.store.observe(None, obj)

    @precondition(lambda self: self.listing is None)
    @rule(lag=st.integers(0, 3))
    def list_is_sent(self, lag: int) -> None:
        """With lag 0 a consistent LIST, with more one from an old watch cache."""
        index = max(0, len(self.server.history) - 1 - lag) if not self.opaque else len(self.server.history) - 1
        consistent = index == len(self.server.history) - 1
        self.listing = (self.store.begin(consistent=consistent), index)

    @precondition(lambda self: self.listing is not None)
    @rule()
    def list_returns(self) -> None:
        assert self.listing is not None
        mark, index = self.listing
        self.listing = None
        version, state = self.server.history[index]
        self.store.replace(state.values(), self.server.text(version), mark)

    @invariant()
    def index_is_right(self) -> None:
        objects = list(self.store)
        by_parent = {p: sorted(o["metadata"]["name"] for o in objects if _parent(o) == p) for p in ("job0", "job1")}
        for parent, names in by_parent.items():
            assert [o["metadata"]["name"] for o in self.store.children(parent)] == names

    @invariant()
    def never_goes_back(self) -> None:
        if self.opaque:
            return
        for obj in self.store:
            uid, version = obj["metadata"]["uid"], int(obj["metadata"]["resourceVersion"])
            assert version >= self.newest.get(uid, 0)
            self.newest[uid] = version

    def teardown(self) -> None:
        """Once the watch has caught up, and if it had a gap, after one more LIST: equal to the server."""
        if self.listing is not None:
            self.list_returns()
        self.watch_delivers(len(self.server.log))
        if self.gap or self.opaque:
            mark = self.store.begin(consistent=True)
            self.store.replace(self.server.now.values(), self.server.text(self.server.version), mark)
        assert {o["metadata"]["name"]: o for o in self.store} == self.server.now
        if not self.opaque:
            for entry in self.server.log:
                self.observe(entry)
            assert {o["metadata"]["name"]: o for o in self.store} == self.server.now, "told everything once more"


class OpaqueStoreMachine(StoreMachine):
    """A server whose versions are no numbers."""

    opaque = True


def _parent(obj: dict[str, Any]) -> str:
    return next(r["uid"] for r in obj["metadata"]["ownerReferences"] if r.get("controller"))


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=examples(120), stateful_step_count=40, deadline=None)
TestOpaqueStoreMachine = OpaqueStoreMachine.TestCase
TestOpaqueStoreMachine.settings = settings(max_examples=examples(40), stateful_step_count=40, deadline=None)


def test_changes_name_the_ghosts_of_a_gap() -> None:
    store = Store()
    ghost, kept = pod("ghost", "u1", 5, parent="j"), pod("kept", "u2", 6)
    store.observe("ADDED", ghost)
    store.observe("ADDED", kept)
    changes = store.replace([kept], "9", store.begin(consistent=True))
    assert changes == [Change(Key("ns", "ghost"), ghost, None)]
    assert store.children("j") == []


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
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1"},
    }
    thin = slim(fat)
    assert thin["metadata"]["annotations"] == {"kept": "1"}
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
