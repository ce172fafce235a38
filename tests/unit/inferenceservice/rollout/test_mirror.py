"""Copies before traffic: the serving revision is told to copy, nobody else finds the canary, and all is taken back."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.api.serving.rollout import Canary
from slipway.inferenceservice.policy.traffic import Scores
from slipway.inferenceservice.service import DEPLOYMENTS
from slipway.runtime.client.resource import CONFIGMAPS, SERVICES
from tests.unit.inferenceservice import looks, world

Object = dict[str, Any]
STEPS = [
    {"trafficPercent": 20, "mirror": True, "analysisSeconds": 60},
    {"trafficPercent": 20, "analysisSeconds": 60},
]


class Copying(world.World):
    """A world whose Services and ConfigMaps are there as they were written and patched."""

    def __init__(self, steps: list[Object], gate: Object | None = None) -> None:
        self.steps, self.gate = steps, gate or {}
        self.kept: dict[Any, dict[str, Object]] = {SERVICES: {}, CONFIGMAPS: {}}
        # Revisions that a request could meet, whenever anything had changed.
        self.met: list[set[str]] = []
        super().__init__()

    def look(self) -> Any:
        self.spec = {
            **self.spec,
            "rollout": {
                **world.ROLLOUT,
                "canary": {"steps": self.steps, "gate": {**world.ROLLOUT["canary"]["gate"], **self.gate}},
            },
        }
        if self.gate:
            self.spec["predictor"] = {**self.spec["predictor"], "generation": {"prefixCaching": False}}
        obj = {
            "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 1},
            "spec": self.spec,
            "status": self.status,
        }
        there = copy.deepcopy(self.kept)
        return looks.look(obj, self.deployments.values(), self.pods, now=self.now, window=self.window, beside=there)

    def once(self) -> bool:
        decision = self.look()
        for delete in decision.deletes:
            self.kept.get(delete.resource, {}).pop(delete.name, None)
        for patch in decision.patches:
            if patch.resource in self.kept:
                known = self.kept[patch.resource][patch.name]
                for part, field in (("spec", "selector"), ("data", None)):
                    if part in patch.body:
                        place = known[part][field] if field else known.setdefault(part, {})
                        change = patch.body[part][field] if field else patch.body[part]
                        place.update(change)
                        for key in [key for key, value in place.items() if value is None]:
                            del place[key]
        for write in decision.writes:
            if write.resource in self.kept:
                self.kept[write.resource][write.manifest["metadata"]["name"]] = copy.deepcopy(write.manifest)
        self.look = lambda: decision  # type: ignore[method-assign]
        changed = super().once()
        del self.look
        self.met.append(self.led_to())
        return changed or any(patch.resource is not DEPLOYMENTS for patch in decision.patches)

    def led_to(self) -> set[str]:
        selector = self.kept[SERVICES]["digits"]["spec"]["selector"]
        marks = {r: d["spec"]["template"]["metadata"]["labels"] for r, d in self.deployments.items()}
        return {name.removeprefix("digits-") for name, labels in marks.items() if selector.items() <= labels.items()}

    def told(self, revision: str) -> Object:
        text = (self.kept[CONFIGMAPS][f"digits-{revision}"].get("data") or {}).get("mirror.json")
        return json.loads(text) if text else {}


def begun(steps: list[Object] = STEPS, gate: Object | None = None) -> tuple[Copying, str, str]:
    there = Copying(steps, gate)
    (first,) = there.revisions()
    there.edit(maxBatchSize=8)
    there.settle()
    return there, first, there.canary["name"]


def test_a_gate_on_log_probabilities_has_the_answers_scored_while_there_are_copies():
    there, first, _ = begun(gate={"maxLogprobDrift": 0.1})
    assert there.told(first)["scores"] is True
    there.traffic(60, requests=200)
    there.settle()
    assert there.canary["step"] == 0, "nothing has been scored yet"
    assert there.window is not None
    scored = replace(there.window.revisions[first], scores=Scores(40, 40.0, 0.0, 40.5))
    there.window = replace(there.window, revisions={**there.window.revisions, first: scored})
    there.settle()
    assert there.canary["phase"] == "RolledBack"
    assert "nats per token" in there.canary["message"]


def test_it_gets_copies_first_then_its_share_then_all():
    there, first, newest = begun()
    assert there.revisions() == {first: 4, newest: 1}
    assert all(newest not in met for met in there.met)
    assert there.told(first) == {"url": f"http://digits-{newest}.team.svc:80", "percent": 20}
    assert not there.told(newest)
    assert there.kept[SERVICES][f"digits-{newest}"]["spec"]["selector"]["slipway.dev/revision"] == newest
    assert (there.canary["mirror"], there.canary["actualPercent"]) == (True, 0)
    assert there.status["components"]["predictor"]["traffic"] == [
        {"revisionName": first, "percent": 100, "latestRevision": False}
    ]
    there.traffic(61)
    there.settle()
    assert (there.canary["step"], there.canary["mirror"]) == (1, False)
    assert there.led_to() == {first, newest}
    assert not there.told(first)
    assert set(there.kept[SERVICES]) == {"digits"}
    there.traffic(61)
    there.settle()
    assert there.revisions() == {newest: 4}


def test_copies_for_one_that_asks_for_keys_carry_them():
    """It would refuse them all, and nothing would be known of it."""
    there = Copying(STEPS)
    (first,) = there.revisions()
    there.edit(maxBatchSize=8)
    there.spec["predictor"]["auth"] = {"secretRef": {"name": "team-keys"}}
    there.settle()
    assert there.told(first)["keys"] is True


def test_a_worse_one_never_meets_a_request():
    there, first, newest = begun()
    there.traffic(61, errors=500)
    there.settle()
    assert there.canary["phase"] == "RolledBack"
    assert there.revisions() == {first: 4}
    assert all(newest not in met for met in there.met)
    assert not there.told(first)
    assert set(there.kept[SERVICES]) == {"digits"}
    assert "slipway.dev/revision" not in there.kept[SERVICES]["digits"]["spec"]["selector"]


def test_copies_alone_can_promote():
    there, _, newest = begun(STEPS[:1])
    there.traffic(61)
    there.settle()
    assert there.canary["phase"] == "Promoted"
    assert there.revisions() == {newest: 4}
    assert there.led_to() == {newest}


def test_editing_back_takes_everything_back():
    there, first, _ = begun()
    there.spec = {**there.spec, "predictor": {"model": {"uri": "pvc://m/a"}}}
    there.settle()
    assert there.revisions() == {first: 4}
    assert there.led_to() == {first}
    assert not there.told(first)
    assert set(there.kept[SERVICES]) == {"digits"}


@pytest.mark.parametrize(
    ("steps", "right"),
    [
        (STEPS, True),
        ([STEPS[0], {"trafficPercent": 5}], True),
        (STEPS[:1], True),
        ([STEPS[1], STEPS[0]], False),
        ([STEPS[0], STEPS[0]], False),
    ],
)
def test_copies_come_before_traffic(steps, right):
    if right:
        assert Canary.model_validate({"steps": steps})
    else:
        with pytest.raises(ValueError, match="steps"):
            Canary.model_validate({"steps": steps})
