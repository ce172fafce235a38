"""Every way to get a TrainingJob wrong ends in words that say what to change, and is refused as early as can be."""

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import spec_problems
from tests.unit.api.admission import Admission
from tests.unit.api.manifests import BUILT_IN, OWN, WRONG, Wrong, job

ADMISSION = Admission(trainingjob.KIND)


@pytest.mark.parametrize("base", [BUILT_IN, OWN])
def test_the_starting_points_are_right(base):
    assert ADMISSION.refusals(job(base)) == []
    assert spec_problems("digits", base)[1] == []


def test_names_in_the_table_are_unique():
    names = [wrong.name for wrong in WRONG]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_the_reconcile_refuses_it_in_words(wrong: Wrong):
    parsed, problems = spec_problems(wrong.job_name, wrong.spec)
    assert parsed is None
    assert wrong.words in "; ".join(problems)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_admission_refuses_it_as_early_as_can_be(wrong: Wrong):
    structural = ADMISSION.structural(wrong.manifest)
    assert bool(structural) == (wrong.by == "schema"), structural
    if wrong.by != "schema":
        cel = ADMISSION.cel(wrong.manifest)
        assert bool(cel) == (wrong.by == "cel"), cel


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if wrong.by == "cel"], ids=lambda wrong: wrong.name)
def test_cel_and_the_reconcile_use_the_same_words(wrong: Wrong):
    _, problems = spec_problems(wrong.job_name, wrong.spec)
    said = "; ".join(problems)
    messages = [problem.partition(": ")[2] for problem in ADMISSION.cel(wrong.manifest)]
    by_type = {"name too long for its pods", "label's key", "elastic name too long", "node label's key"}
    assert wrong.name in by_type or all(message in said for message in messages), (messages, said)
