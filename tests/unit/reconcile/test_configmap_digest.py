"""A ConfigMap that somebody changed is told from one that is as it was made, by whatever release."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from slipway.inferenceservice import transform
from slipway.reconcile.configmap_digest import INTACT, MARK, intact, marked

DATA = st.dictionaries(st.text("abc.-", min_size=1), st.text(st.characters(exclude_categories=["Cs"])), max_size=4)


@given(data=DATA, other=DATA)
def test_a_change_of_any_text_is_seen_and_nothing_else(data: dict[str, str], other: dict[str, str]) -> None:
    made = marked({"metadata": {"name": "c", "namespace": "n"}, "data": data})
    assert intact(made)
    assert intact({**made, "data": other}) == (data == other)
    assert intact({"metadata": {"name": "c"}, "data": other}), "an earlier release marked none"


def test_what_the_cache_keeps_says_the_same_when_it_is_made_slim_again() -> None:
    made = marked({"metadata": {"name": "c", "namespace": "n", "uid": "u"}, "data": {"job.json": "x"}})
    changed = copy.deepcopy(made)
    changed["data"]["job.json"] = "y"
    for whole, verdict in ((made, True), (changed, False)):
        slim = transform.config_map(whole)
        assert slim[INTACT] == transform.config_map(slim)[INTACT] == verdict
        assert slim["data"] == {}
    assert MARK in made["metadata"]["annotations"]
