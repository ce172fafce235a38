"""Every way to get a SearchJob wrong ends in words that say what to change, and is refused as early as can be."""

import pytest

from slipway.api.search import paths, searchjob
from slipway.api.search.searchjob import spec_problems
from tests.unit.api.admission import Admission
from tests.unit.searchjob.refusals import RIGHT, WRONG, Wrong

ADMISSION = Admission(searchjob.KIND)


def test_the_starting_point_is_right() -> None:
    assert ADMISSION.refusals(Wrong("", {}, "").manifest) == []
    assert spec_problems("s", RIGHT)[1] == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_it_is_refused_in_words_and_as_early_as_can_be(wrong: Wrong) -> None:
    parsed, problems = spec_problems(wrong.job_name, wrong.spec)
    assert parsed is None
    assert wrong.words in "; ".join(problems)
    structural = ADMISSION.structural(wrong.manifest)
    assert bool(structural) == (wrong.by == "schema"), structural
    if wrong.by == "cel":
        assert wrong.words in "; ".join(ADMISSION.cel(wrong.manifest))


def test_a_parameter_of_a_users_own_program_is_a_variable() -> None:
    spec = {"trainer": {"env": [{"name": "LR", "value": "1"}, {"name": "B", "value": "2"}]}}
    changed = paths.put_all(spec, {"trainer.env.LR": 0.5, "trainer.env.NEW": "word"})
    assert {one["name"]: one["value"] for one in changed["trainer"]["env"]} == {"LR": "0.5", "B": "2", "NEW": "word"}
    assert spec["trainer"]["env"][0]["value"] == "1", "the template itself was changed"
    assert paths.get(changed, "trainer.env.LR") == "0.5"
