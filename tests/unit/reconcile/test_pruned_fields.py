"""A field that no schema knows is found in what was applied, whatever else is in it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.codegen.crd import KINDS, root_schema
from slipway.api.training import trainingjob
from slipway.reconcile.pruned_fields import APPLIED, LONGEST, MOST, PRUNED, keeping, paths
from tests.unit.api.manifests import FULL
from tests.unit.hostile.cost import assert_within

SCHEMA = root_schema(trainingjob.KIND)
RIGHT: dict[str, Any] = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"x": 1}}


def stored(applied: Any) -> dict[str, Any]:
    text = applied if isinstance(applied, str) else json.dumps(applied)
    return {"metadata": {"name": "j", "namespace": "n", "annotations": {APPLIED: text}}, "spec": {}}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"recipe": {"lerningRate": 0.1}}, ["spec.recipe.lerningRate"]),
        ({"trainer": {"env": [{"name": "A"}, {"name": "B", "vlaue": "x"}]}}, ["spec.trainer.env[1].vlaue"]),
        ({"nodes": 3, "pod": {"labels": {"any": "x"}, "hostPath": {}}}, ["spec.nodes", "spec.pod.hostPath"]),
        ({"numNodes": 3, "unset": None}, []),
    ],
)
def test_the_path_of_what_was_dropped(spec: dict[str, Any], found: list[str]) -> None:
    assert paths(stored({**RIGHT, "spec": spec}), SCHEMA) == found
    slim = keeping(SCHEMA)(stored({**RIGHT, "spec": spec}))
    assert slim.get(PRUNED, []) == keeping(SCHEMA)(slim).get(PRUNED, []) == found
    assert APPLIED not in slim["metadata"].get("annotations", {})


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_a_field_beside_the_spec_is_dropped_too(kind: Any) -> None:
    assert paths(stored({**RIGHT, "sepc": {}}), root_schema(kind)) == ["sepc"]


def test_a_spec_that_has_every_field_has_none_too_many() -> None:
    assert paths(stored({**RIGHT, "spec": FULL}), SCHEMA) == []


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_an_annotation_holds_is_told_within_bounds(document: Any) -> None:
    for applied in (document, {"spec": document}, {"spec": {"trainer": document}}):
        found = paths(stored(applied), SCHEMA)
        assert len(found) <= MOST
        assert all(len(path) <= LONGEST and path.isprintable() for path in found)


@pytest.mark.parametrize("text", ["{", "[" * 5000, '"x"', "", "null"])
def test_what_is_no_configuration_tells_nothing(text: str) -> None:
    assert paths(stored(text), SCHEMA) == []


def test_the_largest_annotation_is_read_in_a_moment() -> None:
    """Kubernetes takes 256 KiB of annotations, on each of a tenant's objects."""
    for spec in ({"trainer": {"env": [{}] * 60_000}}, {"pod": {"volumes": [{"configMap": {}}] * 14_000}}):
        text = stored({"spec": spec})
        assert_within(0.5, partial(paths, text, SCHEMA))
