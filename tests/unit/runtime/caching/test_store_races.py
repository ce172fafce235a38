"""The store against a small model of an API server: whatever races, it ends up equal and never goes back."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slipway.runtime.caching.store import Mark, Store
from slipway.runtime.client.transform import slim
from tests.unit.runtime.caching.objects import parent, pod
from tests.unit.runtime.effort import examples

NAMES = st.sampled_from(["p0", "p1", "p2"])


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
        for uid, names in by_parent.items():
            assert [o["metadata"]["name"] for o in self.store.children(parent(uid))] == names

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
        there = {name: slim(obj) for name, obj in self.server.now.items()}
        assert {o["metadata"]["name"]: o for o in self.store} == there
        if not self.opaque:
            for entry in self.server.log:
                self.observe(entry)
            assert {o["metadata"]["name"]: o for o in self.store} == there, "told everything once more"


class OpaqueStoreMachine(StoreMachine):
    """A server whose versions are no numbers."""

    opaque = True


def _parent(obj: dict[str, Any]) -> str:
    return next(r["uid"] for r in obj["metadata"]["ownerReferences"] if r.get("controller"))


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=examples(120), stateful_step_count=40, deadline=None)
TestOpaqueStoreMachine = OpaqueStoreMachine.TestCase
TestOpaqueStoreMachine.settings = settings(max_examples=examples(40), stateful_step_count=40, deadline=None)
