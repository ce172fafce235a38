"""Decisions on figures: canaries and autoscaling. The operator reads real /metrics; a test decides what they say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.inferenceservice.figures import Figures, Traffic
from tests.api.inferenceservice.services import Town, predictor, revision
from tests.api.operators import Operator
from tests.api.stage import Stage, marked
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
SERVER = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:test"}
# In the versions that servers before 1.21 and 1.23 have, which went with 1.25 and 1.26, and in those of today.
OLD = {
    "budgets": "/apis/policy/v1beta1/namespaces/{}/poddisruptionbudgets",
    "scalers": "/apis/autoscaling/v2beta2/namespaces/{}/horizontalpodautoscalers",
}
NOW = {
    "budgets": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "scalers": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}
CANARY = {
    "strategy": "Canary",
    "canary": {
        "steps": [{"trafficPercent": 25, "analysisSeconds": 1}, {"trafficPercent": 50, "analysisSeconds": 1}],
        "gate": {"minRequests": 50, "maxOutputDrift": 0.2},
    },
}
WORSE = [
    pytest.param({"errors": 2}, "error rate", id="errors"),
    pytest.param({"seconds": 0.1}, "p99", id="slow"),
    pytest.param({"scores": (0, 0, 1)}, "outputs drift", id="drift"),
]
_hosts = itertools.count(1)


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Operator:
    return operators(stage.namespace("traffic"), **SERVER)


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Town:
    operator.ready()
    return Town(stage, "traffic")


@pytest.fixture
def two() -> Iterator[tuple[Figures, Figures]]:
    """What the pods of the first revision tell, and those of any later one."""
    number = next(_hosts)
    with Figures(f"127.9.{number}.1") as old, Figures(f"127.9.{number}.2") as new:
        yield old, new


def place(town: Town, name: str, first: str, two: tuple[Figures, Figures], later: Script | None = None) -> None:
    """Pods of the first revision lie at the first address, all others at the second."""

    def script(pod: dict[str, Any]) -> Script:
        if pod["metadata"]["labels"]["slipway.dev/revision"] == first:
            return Script(runs_for=None, address=two[0].address)
        return later or Script(runs_for=None, address=two[1].address)

    town.stage.scripts[name] = script


def served(town: Town, name: str, two: tuple[Figures, Figures], **spec: Any) -> str:
    """A service whose first revision serves; returns that revision."""
    town.stage.scripts[name] = lambda _: Script(runs_for=None, address=two[0].address)
    town.create(name, **{"rollout": CANARY, **spec})
    first = revision(town.until_ready(name))
    place(town, name, first, two)
    return first


def canary_of(status: dict[str, Any]) -> dict[str, Any]:
    return (status.get("canaryStatuses") or [{}])[0]


def test_a_good_canary_goes_through_its_steps_and_is_promoted(
    town: Town, name: str, two: tuple[Figures, Figures]
) -> None:
    first = served(town, name, two, replicas=3)
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 10})):
        town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))
        quarter = town.until(name, lambda s: canary_of(s).get("phase") == "Analysing")
        assert canary_of(quarter)["actualPercent"] == 25
        shares = {share["revisionName"]: share["percent"] for share in quarter["components"]["predictor"]["traffic"]}
        assert shares == {first: 75, canary_of(quarter)["name"]: 25}
        half = town.until(name, lambda s: canary_of(s).get("step") == 1 and canary_of(s)["phase"] == "Analysing", 60)
        assert canary_of(half)["actualPercent"] == 50
        assert canary_of(half)["gate"]["requests"] >= 50
        done = town.until(name, lambda s: marked(s, "Ready", "True") and revision(s) != first, 60)
    assert canary_of(done)["phase"] == "Promoted"
    assert canary_of(done)["reason"] == "GatePassed"
    predictor_status = done["components"]["predictor"]
    assert predictor_status["latestRolledoutRevision"] == predictor_status["latestReadyRevision"]
    assert predictor_status["previousRolledoutRevision"] == first
    left = town.until_deployments(name, lambda all_: len(all_) == 1)
    assert [d["spec"]["replicas"] for d in left.values()] == [3]


@pytest.mark.parametrize(("worse", "words"), WORSE)
def test_a_worse_canary_is_rolled_back_and_not_tried_again(
    town: Town, name: str, two: tuple[Figures, Figures], worse: dict[str, Any], words: str
) -> None:
    first = served(town, name, two, replicas=2)
    changed = predictor(batching={"maxBatchSize": 8})
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 30, **worse})):
        town.edit(name, predictor=changed)
        back = town.until(name, lambda s: canary_of(s).get("phase") == "RolledBack", 60)
        assert canary_of(back)["reason"] == "GateFailed"
        assert words in canary_of(back)["message"]
        assert marked(back, "Stalled", "True", "CanaryRolledBack")
        assert marked(back, "PredictorReady", "True")
        assert set(town.until_deployments(name, lambda all_: len(all_) == 1)) == {f"{name}-{first}"}
        town.scale(name, 3)
        town.until(name, lambda s: s["replicas"] == {"desired": 3, "ready": 3, "updated": 0})
        assert set(town.deployments(name)) == {f"{name}-{first}"}
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 30})):
        town.edit(name, rollout={"canary": {"gate": {"maxErrorRate": 0.02}}})
        again = town.until(name, lambda s: canary_of(s).get("phase") == "Analysing", 60)
        assert canary_of(again)["attempt"] != canary_of(back)["attempt"]


def test_a_canary_that_crashes_while_it_is_watched_is_rolled_back(
    town: Town, name: str, two: tuple[Figures, Figures]
) -> None:
    first = served(town, name, two, replicas=2)
    town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))
    town.until(name, lambda s: canary_of(s).get("phase") == "Analysing")
    place(town, name, first, two, Script(crashes=Exit(code=139, message="segmentation fault")))
    new = next(d for d in town.deployments(name) if d != f"{name}-{first}")
    pods = town.stage.until_pods("traffic", name, lambda all_: any(p.startswith(new) for p in all_))
    town.stage.delete("/api/v1/namespaces/traffic/pods", next(p for p in pods if p.startswith(new)))
    back = town.until(name, lambda s: canary_of(s).get("phase") == "RolledBack", 60)
    assert "segmentation fault" in canary_of(back)["message"]
    town.until_deployments(name, lambda all_: set(all_) == {f"{name}-{first}"})


def test_editing_back_ends_a_canary(town: Town, name: str, two: tuple[Figures, Figures]) -> None:
    first = served(town, name, two)
    town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))
    town.until(name, lambda s: canary_of(s).get("phase") == "Analysing")
    town.edit(name, predictor={"batching": None})
    town.until_deployments(name, lambda all_: set(all_) == {f"{name}-{first}"})
    town.until(name, lambda s: marked(s, "Ready", "True") and revision(s) == first)


def test_another_operator_goes_on_with_a_canary_from_what_the_last_one_saw(
    town: Town, operator: Operator, name: str, two: tuple[Figures, Figures]
) -> None:
    """No request comes any more when it takes over: what the last one counted has to be enough."""
    steps = [{"trafficPercent": 25, "analysisSeconds": 1}, {"trafficPercent": 50, "analysisSeconds": 9}]
    rollout = {"strategy": "Canary", "canary": {"steps": steps, "gate": {"minRequests": 50}}}
    first = served(town, name, two, replicas=2, rollout=rollout)
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 30})):
        town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))
        town.until(name, lambda s: canary_of(s).get("step") == 1 and "evidence" in canary_of(s), 60)
    operator.kill()
    operator.start()
    operator.ready()
    done = town.until(name, lambda s: marked(s, "Ready", "True") and revision(s) != first, 60)
    assert canary_of(done)["phase"] == "Promoted"
    assert canary_of(done)["gate"]["requests"] >= 50


def test_the_load_scales_it_up_and_the_scale_subresource_is_heard(
    town: Town, name: str, two: tuple[Figures, Figures]
) -> None:
    scaling = {"maxReplicas": 4, "scaleTarget": 2, "scaleDownStabilizationSeconds": 2}
    served(town, name, two, autoScaling=scaling, rollout={"strategy": "Replace"})
    # Ten requests of 0.5 s in each tenth of a second: fifty at a time in every replica.
    with Traffic((two[0], {"requests": 10, "seconds": 0.5})):
        up = town.until(name, lambda s: s["replicas"]["ready"] == 4, 60)
    assert up["autoScaling"]["desired"] == 4
    assert "Concurrency" in up["autoScaling"]["message"]
    assert marked(up, "PredictorReady", "True")
    down = town.until(name, lambda s: s["replicas"]["desired"] == 1, 60)
    assert "-> 1" in down["autoScaling"]["message"]
    town.scale(name, 3)
    heard = town.until(name, lambda s: s["autoScaling"]["replicasSeen"] == 3)
    assert heard["autoScaling"]["desired"] == 3
    town.scale(name, 0)
    town.until(name, lambda s: marked(s, "Ready", "True", "ScaledToZero"))
    assert town.get("/apis/slipway.dev/v1alpha1/namespaces/{}/inferenceservices", name)["spec"]["replicas"] == 0


def test_a_language_model_is_scaled_by_its_tokens_and_judged_by_its_first(
    town: Town, name: str, two: tuple[Figures, Figures]
) -> None:
    """Nothing has been answered yet: what is under way is all that the pods can tell."""
    for figures in two:
        figures.tokens.gauges["slipway_tokens_in_flight"] = ("Tokens.", lambda: 900.0)
    gate = {"minRequests": 50, "maxTTFTIncreasePercent": 100}
    rollout = {**CANARY, "canary": {**CANARY["canary"], "gate": gate}}
    scaling = {"maxReplicas": 3, "scaleMetric": "TokensInFlight", "scaleTarget": 300}
    first = served(town, name, two, rollout=rollout, predictor=predictor(generation={}), autoScaling=scaling)
    size = town.until(name, lambda s: s["autoScaling"]["desired"] == 3)["autoScaling"]
    assert "TokensInFlight 900.0" in size["message"]
    with Traffic((two[0], {"requests": 20}), (two[1], {"requests": 20, "first": 0.5})):
        town.edit(name, predictor=predictor(generation={"maxSequences": 9}))
        status = town.until(name, lambda s: (s.get("canaryStatuses") or [{}])[0].get("phase") == "RolledBack")
    entry = status["canaryStatuses"][0]
    assert "time to the first token" in entry["message"]
    assert float(entry["gate"]["ttftMilliseconds"]) > 100 > float(entry["gate"]["stableTtftMilliseconds"])
    assert entry["stable"] == first


def test_the_clusters_autoscaler_and_budget_are_made_in_the_version_that_is_served(town: Town, name: str) -> None:
    scaling = {"minReplicas": 2, "maxReplicas": 5, "scaleMetric": "CPU", "scaleTarget": 70}
    town.create(name, autoScaling=scaling, predictor=predictor(resources={"requests": {"cpu": "100m"}}))
    town.until_ready(name, desired=2, ready=2)
    served = NOW if town.stage.plane.release.minor >= 25 else OLD
    scalers, budgets = town.path(served["scalers"]), town.path(served["budgets"])
    made = town.stage.until_object(scalers, name, lambda _: True)
    target = {"apiVersion": "slipway.dev/v1alpha1", "kind": "InferenceService", "name": name}
    assert made["spec"]["scaleTargetRef"] == target
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (2, 5)
    budget = town.stage.until_object(budgets, name, lambda o: o.get("status", {}).get("expectedPods") == 2)
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["status"]["disruptionsAllowed"] == 1
    town.edit(name, autoScaling={"maxReplicas": 6})
    town.stage.until_object(scalers, name, lambda o: o["spec"]["maxReplicas"] == 6)
    town.edit(name, autoScaling=None)
    town.stage.until_gone(scalers, name)


def test_what_a_pod_says_of_its_model_is_in_the_status(town: Town, name: str, two: tuple[Figures, Figures]) -> None:
    two[0].model = {
        "name": name,
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
        "properties": {
            "digest": "sha256:aa",
            "engine": "onnxruntime",
            "max_batch_size": "32",
            "warm_up_ms_32": "9.500",
            "warm_up_ms_1": "1.250",
            "lineage_job": "QuantizationJob/digits-int8",
            "lineage_data_set": "digits@sha256:dd",
            "lineage_sources": "sha256:bb",
        },
    }
    first = served(town, name, two)
    said = town.until(name, lambda s: "servedModel" in s)["servedModel"]
    assert said["revision"] == first
    assert said["engine"] == "onnxruntime"
    assert said["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert said["performance"] == [{"rows": 1, "milliseconds": 1.25}, {"rows": 32, "milliseconds": 9.5}]
    assert (said["dataSet"], said["sources"]) == ("digits@sha256:dd", ["sha256:bb"])


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(town: Town, operator: Operator) -> None:
    assert operator.running(), operator.tail()
    assert "Traceback" not in operator.log.read_text(), operator.tail()
