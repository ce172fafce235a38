"""Copies before traffic, with real servers: they find a worse model out, and a good one takes over; nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import Namespace
from tests.e2e.serving.load import Load
from tests.e2e.serving.test_inferenceservice import (
    GATE,
    edit,
    is_ready,
    load,
    replaced,
    revision,
    service,
    status,
    trained,
    until_pods,
)

pytestmark = pytest.mark.slow
__all__ = ["load"]
MIRROR = {
    "strategy": "Canary",
    "canary": {"steps": [{"trafficPercent": 50, "mirror": True, "analysisSeconds": 5}], "gate": GATE},
}


def test_a_worse_model_is_found_out_by_copies_and_a_good_one_takes_over(
    namespace: Namespace, load: Callable[[str], Load]
) -> None:
    trained(namespace, "good", "other", "worse")
    namespace.apply(service("good", rollout=MIRROR))
    first = revision(status(namespace, is_ready, "ready"))
    with load("digits") as running:
        running.phase = "copies for a worse one"
        edit(namespace, predictor={"model": {"from": {"trainingJob": "worse"}}})
        copied = status(namespace, lambda s: s["canaryStatuses"][0]["phase"] == "Analysing", "copied")
        assert copied["components"]["predictor"]["traffic"] == [
            {"revisionName": first, "percent": 100, "latestRevision": False}
        ]
        # The kubelet takes about a minute to bring the changed ConfigMap.
        back = status(namespace, lambda s: s["canaryStatuses"][0]["phase"] == "RolledBack", "rolled back", 400)
        until_pods(namespace, lambda revisions: set(revisions) == {first})
        running.phase = "copies for a good one"
        edit(namespace, predictor={"model": {"from": {"trainingJob": "other"}}})
        second = replaced(namespace, first)
        running.phase = "end"
    print(running.report())
    assert not running.failures, running.report()
    assert "outputs drift" in back["canaryStatuses"][0]["message"]
    assert back["canaryStatuses"][0]["mirror"]
    done = namespace.get("inferenceservice", "digits")["status"]["canaryStatuses"][0]
    assert (done["name"], done["phase"]) == (second, "Promoted")
    assert done["gate"]["requests"] >= GATE["minRequests"]
