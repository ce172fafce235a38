"""Copies before traffic, on a real API server: who is told to copy, and whom the Service leads to meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.api.inferenceservice.figures import Figures, Traffic
from tests.api.inferenceservice.services import ADDRESSES, CONFIGMAPS, Town, predictor, revision
from tests.api.inferenceservice.test_traffic import canary_of, served, two
from tests.api.operators import Operator
from tests.api.stage import Stage, marked

pytestmark = pytest.mark.api
__all__ = ["two"]
ROLLOUT = {
    "strategy": "Canary",
    "canary": {
        "steps": [
            {"trafficPercent": 50, "mirror": True, "analysisSeconds": 1},
            {"trafficPercent": 50, "analysisSeconds": 1},
        ],
        "gate": {"minRequests": 50, "maxOutputDrift": 0.2},
    },
}
CHANGED = predictor(batching={"maxBatchSize": 8})


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Operator:
    return operators(stage.namespace("mirror"), SLIPWAY_SERVER_IMAGE="registry.example.com/slipway/server:test")


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Town:
    operator.ready()
    return Town(stage, "mirror")


def told(config: dict) -> dict:
    return json.loads(config["data"].get("mirror.json", "{}"))


def test_it_gets_copies_alone_until_the_gate_has_seen_them(town: Town, name: str, two: tuple[Figures, Figures]) -> None:
    first = served(town, name, two, rollout=ROLLOUT, replicas=2)
    town.edit(name, predictor=CHANGED)
    copied = town.until(name, lambda s: canary_of(s).get("phase") == "Analysing")
    newest = canary_of(copied)["name"]
    assert (canary_of(copied)["mirror"], canary_of(copied)["actualPercent"]) == (True, 0)
    assert [share["revisionName"] for share in copied["components"]["predictor"]["traffic"]] == [first]
    assert town.get(ADDRESSES, name)["spec"]["selector"]["slipway.dev/revision"] == first
    config = town.stage.until_object(town.path(CONFIGMAPS), f"{name}-{first}", told)
    assert told(config) == {"url": f"http://{name}-{newest}.mirror.svc:80", "percent": 50}
    assert town.get(ADDRESSES, f"{name}-{newest}")["spec"]["selector"]["slipway.dev/revision"] == newest
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 15})):
        town.until(name, lambda s: canary_of(s).get("step") == 1, 60)
        wide = town.stage.until_object(
            town.path(ADDRESSES), name, lambda s: "slipway.dev/revision" not in s["spec"]["selector"]
        )
        assert wide["spec"]["selector"]
        town.stage.until_object(town.path(CONFIGMAPS), f"{name}-{first}", lambda config: not told(config))
        town.stage.until_gone(town.path(ADDRESSES), f"{name}-{newest}")
        done = town.until(name, lambda s: marked(s, "Ready", "True") and revision(s) == newest, 60)
    assert canary_of(done)["phase"] == "Promoted"


def test_one_that_drifts_is_rolled_back_before_it_was_ever_reached(
    town: Town, name: str, two: tuple[Figures, Figures]
) -> None:
    first = served(town, name, two, rollout=ROLLOUT, replicas=2)
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 30, "scores": (0, 0, 1)})):
        town.edit(name, predictor=CHANGED)
        back = town.until(name, lambda s: canary_of(s).get("phase") == "RolledBack", 60)
    assert (canary_of(back)["step"], canary_of(back)["mirror"]) == (0, True)
    assert "outputs drift" in canary_of(back)["message"]
    town.until_deployments(name, lambda all_: set(all_) == {f"{name}-{first}"})
    wide = town.stage.until_object(
        town.path(ADDRESSES), name, lambda s: "slipway.dev/revision" not in s["spec"]["selector"]
    )
    assert wide["spec"]["selector"]
    assert not told(town.get(CONFIGMAPS, f"{name}-{first}"))


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(town: Town, operator: Operator) -> None:
    assert operator.running(), operator.tail()
    assert "Traceback" not in operator.log.read_text(), operator.tail()
