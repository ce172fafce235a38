"""A SearchJob on a real API server: measured, trained, taken by reference; and what it suspends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.operators import Operator
from tests.api.quantizationjob.jobs import Jobs
from tests.api.searchjob.searches import TRIALS, Searches
from tests.api.stage import Stage, condition, marked

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def searches(stage: Stage) -> Searches:
    return Searches(stage)


def test_what_is_fast_enough_is_trained_and_the_best_is_taken_by_reference(
    searches: Searches, stage: Stage, namespace: str, operators: Callable[..., Operator]
) -> None:
    operators(namespace).ready()
    quantizations = Jobs(stage)
    source = {"model": {"from": {"searchJob": "s"}}}
    quantizations.create(namespace, "small", lambda _: None, **source)  # type: ignore[arg-type, return-value]
    quantizations.until_condition(namespace, "small", "SourceReady", "False", "WaitingForSource")
    searches.create(namespace, "s")
    status = searches.until(namespace, "s", lambda told: marked(told, "Succeeded"))
    assert [trial["state"] for trial in status["trials"]] == ["Succeeded", "Succeeded", "Pruned", "Pruned"]
    assert status["counts"] == {"active": 0, "succeeded": 2, "pruned": 2, "earlyStopped": 0, "failed": 0}
    assert status["best"]["parameters"] == {"recipe.model.width": "8"}
    assert [(point["number"], point["figure"]) for point in status["pareto"]] == [(0, 1), (1, 2)]
    assert set(searches.made(namespace, "s")) == {"s-0", "s-1"}
    found = quantizations.until(namespace, "small", lambda told: (told.get("source") or {}).get("uri"))
    assert found["source"]["uri"] == status["artifact"]["uri"] == "pvc://models/search/s-1"
    assert found["source"]["digest"] == status["artifact"]["digest"]
    # Pods that measured are gone; the owner of each trial is the search.
    stage.until_pods(namespace, "s", lambda pods: not pods)
    trial = stage.plane.client.get(f"{TRIALS.format(namespace)}/s-1")
    assert trial["metadata"]["ownerReferences"][0]["kind"] == "SearchJob"


def test_suspension_takes_its_trials_along(
    searches: Searches, stage: Stage, namespace: str, operators: Callable[..., Operator]
) -> None:
    operators(namespace).ready()
    searches.create(namespace, "rests", runs_for=None, constraints=[])
    searches.until(
        namespace, "rests", lambda told: [one["state"] for one in told.get("trials", [])] == ["Training"] * 2
    )
    stage.until_running(namespace, "rests-0")
    searches.edit(namespace, "rests", runPolicy={"suspend": True})
    searches.until(namespace, "rests", lambda told: marked(told, "Suspended"))
    for trial in ("rests-0", "rests-1"):
        stage.until_condition(namespace, trial, "Suspended")
    searches.edit(namespace, "rests", runPolicy={"suspend": False})
    stage.until_condition(namespace, "rests-0", "Running")
    told = searches.until(namespace, "rests", lambda told: condition(told, "Suspended") is None)
    assert len(told["trials"]) == 2
