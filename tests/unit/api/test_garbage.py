"""Whatever stands in a spec, the operator gets a model or problems in words, and never an exception."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from tests.unit.api.manifests import BUILT_IN, merged

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [field.alias for field in TrainingJobSpec.model_fields.values()]


@given(st.text(max_size=70), st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=5))
def test_any_json_ends_in_words(name, spec):
    parsed, problems = spec_problems(name, spec)
    assert (parsed is None) == bool(problems)
    assert all(problem.startswith(("spec", "metadata.name")) for problem in problems)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "spec: set exactly one of recipe"),
        (merged(BUILT_IN, {"numNode": 3}), "spec.numNode: unknown field: correct its name or remove it"),
        (merged(BUILT_IN, {"recipe": {"lr": 1}}), "spec.recipe.lr: unknown field"),
        (merged(BUILT_IN, {"recipe": "cnn"}), "spec.recipe: "),
        (merged(BUILT_IN, {"pod": {"labels": {"a b": "c"}}}), "spec.pod.labels.a b: String should match"),
        (merged(BUILT_IN, {"numNodes": 0, "launcher": "x"}), "spec.numNodes: "),
    ],
)
def test_problems_name_their_place(spec, words):
    _, problems = spec_problems("digits", spec)
    assert any(problem.startswith(words) for problem in problems), problems


def test_every_field_that_is_wrong_is_named_at_once():
    _, problems = spec_problems("digits", merged(BUILT_IN, {"numNodes": 0, "recipe": {"epochs": 0, "seed": -1}}))
    assert [problem.split(":")[0] for problem in problems] == [
        "spec.numNodes",
        "spec.recipe.epochs",
        "spec.recipe.seed",
    ]
