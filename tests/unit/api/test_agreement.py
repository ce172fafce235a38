"""The schema with its CEL rules and the pydantic models refuse the same specs, whatever they are."""

import pytest
from hypothesis import HealthCheck, example, given, settings

from slipway.api.common.base import Model, Rule
from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import TrainingJobSpec, TrainingJobStatus, spec_problems
from tests.unit.api.admission import Admission
from tests.unit.api.generated import NAMES, specs
from tests.unit.api.manifests import BUILT_IN, job, merged

ADMISSION = Admission(trainingjob.KIND)
SPEC = ADMISSION.schema["properties"]["spec"]


def models_of(model: type[Model]) -> set[type[Model]]:
    """The model and all models inside it."""
    found, waiting = set(), [model]
    while waiting:
        current = waiting.pop()
        if isinstance(current, type):
            if issubclass(current, Model) and current not in found:
                found.add(current)
                waiting += [field.annotation for field in current.model_fields.values()]
        else:
            waiting += getattr(current, "__args__", ())
    return found


RULES: list[Rule] = [rule for model in models_of(TrainingJobSpec) for rule in model.cel]
ONLY_OPERATOR = {rule.message for rule in RULES if rule.rule is None}


def agree(name, spec):
    refused = ADMISSION.refusals(job(spec, name))
    parsed, problems = spec_problems(name, spec)
    assert (parsed is None) == bool(problems)
    if not refused:
        only = {message for problem in problems for message in problem.partition(": ")[2].split("; ")}
        assert only <= ONLY_OPERATOR, f"the operator alone refuses: {problems}"
    else:
        assert problems, f"admission alone refuses: {refused}"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, specs(SPEC))
@example("digits", merged(BUILT_IN, {"numProcPerNode": "2"}))
@example("digits", merged(BUILT_IN, {"recipe": {"optimizer": {"learningRate": 1}}}))
def test_admission_and_operator_agree(name, spec):
    agree(name, spec)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, specs(SPEC))
def test_admission_and_operator_agree_at_length(name, spec):
    agree(name, spec)


def test_what_the_operator_says_survives_the_round_trip():
    parsed, _ = spec_problems("digits", BUILT_IN)
    assert parsed is not None
    assert spec_problems("digits", parsed.wire())[0] == parsed


def test_every_rule_has_its_twin():
    assert {rule.message for rule in RULES} >= ONLY_OPERATOR
    for rule in RULES:
        if rule.holds is None:
            assert rule.rule is not None
            assert "oldSelf" in rule.rule or "k.matches" in rule.rule, rule


def test_models_inside_lists_and_options_are_found():
    names = {model.__name__ for model in models_of(TrainingJobSpec) | models_of(TrainingJobStatus)}
    assert names >= {"EnvVar", "FailureRule", "NodeRequirement", "Volume", "Condition", "LastFailure", "Metric"}
