"""The smallest merge patch: applied to the old object it gives the new one, and it is empty when nothing differs."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from slipway.reconcile.patch import merge_patch

KEYS = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.one_of(st.integers(-2, 2), st.sampled_from(["", "x"]))
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def applied(patch: Any, target: Any) -> Any:
    """RFC 7386, section 2, word by word."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    target = dict(target)
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = applied(value, target.get(name))
    return target


@given(OBJECTS, OBJECTS)
@example({"a": {"b": 1}}, {"a": {}})
@example({"a": 1}, {"a": {"b": {}}})
def test_the_patch_turns_old_into_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = merge_patch(old, new)
    assert applied(patch, old) == new
    assert (patch == {}) == (old == new)


@given(OBJECTS)
def test_nothing_changed_means_nothing_to_send(obj: dict[str, Any]) -> None:
    assert merge_patch(obj, obj) == {}


@given(OBJECTS, OBJECTS)
def test_what_is_equal_is_not_sent(old: dict[str, Any], new: dict[str, Any]) -> None:
    same = {key for key in old.keys() & new.keys() if old[key] == new[key]}
    assert not same & merge_patch(old, new).keys()
