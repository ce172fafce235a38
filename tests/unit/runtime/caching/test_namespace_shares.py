"""What a namespace may take of the cache: the sum is right after any history, and what does not fit has no spec."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.runtime.caching.namespace_shares import SharedStore, Shares, crowded, weigh
from slipway.runtime.client.resource import Object


def job(name: str, version: int, size: int, namespace: str = "ns", uid: str = "") -> Object:
    metadata = {"namespace": namespace, "name": name, "uid": uid or f"u-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"x": "y" * size}}


def test_what_does_not_fit_is_a_stub_until_there_is_room() -> None:
    shares = Shares(10_000)
    store = SharedStore(shares)
    store.observe("ADDED", job("a", 1, 6000))
    store.observe("ADDED", job("b", 2, 6000))
    stub = store.get("ns", "b")
    assert stub is not None
    assert crowded(stub)
    assert stub["spec"] == {}
    assert not store.room(stub)
    store.observe("ADDED", job("other", 3, 6000, "elsewhere"))
    other = store.get("elsewhere", "other")
    assert other is not None
    assert not crowded(other), "another namespace has a share of its own"
    store.observe("DELETED", job("a", 4, 6000))
    assert store.room(stub)
    store.observe("MODIFIED", job("b", 2, 6000))
    whole = store.get("ns", "b")
    assert whole is not None
    assert not crowded(whole), "the same version, looked at again"


def test_one_that_grows_beyond_the_share_becomes_a_stub() -> None:
    store = SharedStore(Shares(10_000))
    store.observe("ADDED", job("a", 1, 100))
    store.observe("MODIFIED", job("a", 2, 20_000))
    stub = store.get("ns", "a")
    assert stub is not None
    assert crowded(stub)
    store.observe("MODIFIED", job("a", 3, 200))
    whole = store.get("ns", "a")
    assert whole is not None
    assert not crowded(whole)


def test_stores_that_share_count_together() -> None:
    shares = Shares(10_000)
    first, second = SharedStore(shares), SharedStore(shares)
    first.observe("ADDED", job("a", 1, 6000))
    second.observe("ADDED", job("b", 2, 6000))
    stub = second.get("ns", "b")
    assert stub is not None
    assert crowded(stub)


def test_a_list_keeps_what_is_known_and_stubs_what_will_not_fit() -> None:
    store = SharedStore(Shares(13_000))
    store.observe("ADDED", job("z", 1, 6000))
    keep = store.sieve()
    kept = [keep(job("a", 2, 6000)), keep(job("b", 3, 1000)), keep(job("c", 4, 6000)), keep(job("z", 1, 6000))]
    assert [crowded(obj) for obj in kept] == [True, False, True, False]
    assert kept[3] is store.get("ns", "z"), "not a second time"
    store.replace(kept, "5", store.begin(consistent=True))
    assert [crowded(obj) for obj in sorted(store, key=lambda obj: obj["metadata"]["name"])] == [
        True,
        False,
        True,
        False,
    ]
    stub = store.get("ns", "a")
    assert stub is not None
    assert stub["crowded"] > 6000, "what the whole one weighs"


EVENT = st.tuples(
    st.sampled_from(["ADDED", "MODIFIED", "DELETED", "LIST"]),
    st.sampled_from("abc"),
    st.sampled_from(["n1", "n2"]),
    st.sampled_from([10, 3000, 8000]),
    st.sampled_from(["u1", "u2"]),
)


@given(st.lists(EVENT, max_size=40))
def test_the_sum_is_what_is_there(events: list[Any]) -> None:
    shares = Shares(10_000)
    store = SharedStore(shares)
    for version, (kind, name, namespace, size, uid) in enumerate(events, start=1):
        obj = job(name, version, size, namespace, uid)
        if kind == "LIST":
            store.replace([obj], str(version), store.begin(consistent=True))
        else:
            store.observe(kind, obj)
        for where in ("n1", "n2"):
            there = [obj for obj in store if obj["metadata"]["namespace"] == where]
            assert shares.taken(where) == sum(weigh(obj) for obj in there)
            assert sum(weigh(obj) for obj in there if not crowded(obj)) <= 10_000


@pytest.mark.parametrize(
    "spec",
    [
        {"env": [{"name": f"E{i}", "value": ""} for i in range(5000)]},
        {"env": {f"E{i}": str(i) for i in range(5000)}},
        {"deep": [[[[[]]]]] * 2000},
        {"text": "x" * 300_000},
        {"numbers": list(range(300, 20_000))},
        {"texts": [f"text {i}" for i in range(5000)]},
        {"containers": [{"name": f"c{i}", "image": "x", "args": ["a", "b"]} for i in range(1000)]},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_the_estimate_is_near_what_python_takes(spec: dict[str, Any]) -> None:
    text = orjson.dumps({"metadata": {"name": "a"}, "spec": spec})
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = orjson.loads(text)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken / 1.7 < weigh(kept) < 3 * taken
