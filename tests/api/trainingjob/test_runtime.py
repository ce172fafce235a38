"""Runtimes on a real API server: waited for, copied once, merged into the pods, and bounded by who may make them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import SHARED as NS
from tests.api.stage import PODS, Stage, condition
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
GROUP = "/apis/slipway.dev/v1alpha1"
MINE, CLUSTERS = f"{GROUP}/namespaces/{NS}/trainingruntimes", f"{GROUP}/clustertrainingruntimes"


def _make(stage: Stage, kind: str, name: str, **spec: Any) -> None:
    body = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    stage.plane.client.call("POST", MINE if kind == "TrainingRuntime" else CLUSTERS, body)


@pytest.mark.usefixtures("shared_operator")
def test_a_job_waits_for_its_runtime_and_goes_by_it_to_the_end_whatever_becomes_of_it(stage: Stage, name: str) -> None:
    fails = Script(runs_for=0.1, exit=Exit(code=1))
    stage.scripts[name] = lambda pod: fails if pod["metadata"]["name"].endswith("a0") else Script(runs_for=None)
    ref = {"kind": "TrainingRuntime", "name": f"{name}.v1"}
    stage.create(
        NS, name, runtimeRef=ref, trainer={"command": ["train"], "env": [{"name": "MINE", "value": "1"}]},
        pod={"labels": {"team": "b"}},
    )  # fmt: skip
    waits = stage.until_condition(NS, name, "Ready", "Unknown", reason="WaitingForRuntime")
    assert f"no TrainingRuntime {name}.v1 in the job's namespace" in condition(waits, "Ready")["message"]  # type: ignore[index]
    trainer = {"image": "platform:1", "env": [{"name": "MINE", "value": "0"}, {"name": "THEIRS", "value": "2"}]}
    _make(
        stage, "TrainingRuntime", ref["name"], trainer=trainer, failurePolicy={"backoff": {"seconds": 2}},
        pod={"labels": {"team": "a", "pool": "p"}, "terminationGracePeriodSeconds": 7},
    )  # fmt: skip
    stage.until_job(NS, name, lambda status: "runtime" in status)
    # Before the restart: a pod of the second attempt is as the first.
    stage.plane.client.patch(f"{MINE}/{ref['name']}", {"spec": {"trainer": {"image": "platform:2"}}})
    stage.delete(MINE, ref["name"])
    status = stage.until_running(NS, name, attempt=1)["status"]
    assert {status["runtime"][field] for field in ("kind", "name")} == {"TrainingRuntime", f"{name}.v1"}
    for pod in stage.plane.client.get(f"{PODS.format(NS)}?labelSelector=slipway.dev/job-name={name}")["items"]:
        (container,) = pod["spec"]["containers"]
        assert container["image"] == "platform:1"
        assert {e["name"]: e.get("value") for e in container["env"] if e["name"] in ("MINE", "THEIRS")} == {
            "MINE": "1", "THEIRS": "2",
        }  # fmt: skip
        assert (pod["metadata"]["labels"]["team"], pod["metadata"]["labels"]["pool"]) == ("b", "p")
        assert pod["spec"]["terminationGracePeriodSeconds"] == 7
    assert stage.job(NS, name)["spec"].get("trainer").get("image") is None, "the spec is the user's"


@pytest.mark.usefixtures("shared_operator")
def test_fine_tuning_goes_on_from_what_another_job_makes(stage: Stage, name: str) -> None:
    digest = f"sha256:{'c' * 64}"
    made = {"uri": f"pvc://models/{name}", "digest": digest, "language": {"kind": "causal-lm"}}
    ends = Script(runs_for=0.1, exit=Exit(code=0, message=json.dumps({"artifact": made})))
    stage.scripts[f"{name}-base"] = lambda _: ends
    recipe = {"dataset": {"name": "sft", "uri": "pvc://data/chats", "format": "messages"}}
    tuned = {**recipe, "model": {"name": "causal-lm", "from": {"trainingJob": f"{name}-base"}}}
    stage.create(NS, name, recipe=tuned, trainer=None, output={"uri": f"pvc://models/{name}-tuned"})
    stage.until_condition(NS, name, "Ready", "Unknown", reason="WaitingForSource")
    base = {**recipe, "model": {"name": "causal-lm", "uri": "pvc://models/raw"}}
    stage.create(NS, f"{name}-base", recipe=base, trainer=None, output={"uri": made["uri"]})
    status = stage.until_running(NS, name)["status"]
    pinned = status["model"]
    assert (pinned["uri"], pinned["digest"], pinned["source"]) == (made["uri"], digest, f"TrainingJob/{name}-base")
    assert pinned["language"]["kind"] == "causal-lm"


@pytest.mark.usefixtures("shared_operator")
def test_a_runtime_of_the_cluster_gives_a_part_of_the_node_away_and_a_tenants_cannot(stage: Stage, name: str) -> None:
    node = [{"mountPath": "/scratch", "hostPath": {"path": "/mnt/nvme"}}]
    try:
        _make(stage, "TrainingRuntime", name, nodeVolumes=node, trainer={"image": "x"})
        _make(stage, "ClusterTrainingRuntime", name, nodeVolumes=node, trainer={"image": "y"})
        assert "nodeVolumes" not in stage.plane.client.get(f"{MINE}/{name}")["spec"], "no such field there"
        with pytest.raises(ApiError, match="kind"):
            stage.create(NS, f"{name}-x", runtimeRef={"kind": "ConfigMap", "name": name})
        for kind, image, given in (("TrainingRuntime", "x", []), ("ClusterTrainingRuntime", "y", ["/mnt/nvme"])):
            job = f"{name}-{image}"
            stage.create(NS, job, runtimeRef={"kind": kind, "name": name}, trainer={"command": ["train"]})
            (pod,) = stage.until_pods(NS, job, bool).values()
            assert pod["spec"]["containers"][0]["image"] == image
            assert [v["hostPath"]["path"] for v in pod["spec"]["volumes"] if "hostPath" in v] == given
            mounts = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/scratch"]
            assert [m["readOnly"] for m in mounts] == [True] * len(given)
    finally:
        stage.remove(f"{CLUSTERS}/{name}")


@pytest.mark.usefixtures("shared_operator")
def test_a_runtime_that_makes_no_sense_is_told_and_once_mended_the_job_starts(stage: Stage, name: str) -> None:
    """The server of the tests has no rules (CEL): the operator's own words."""
    stage.without_cel()
    _make(stage, "TrainingRuntime", name, scheduling={"gang": "Kueue"})
    stage.create(NS, name, runtimeRef={"kind": "TrainingRuntime", "name": name})
    told = stage.until_condition(NS, name, "Ready", "Unknown", reason="WaitingForRuntime")
    assert "Kueue admits by queues" in condition(told, "Ready")["message"]  # type: ignore[index]
    stage.plane.client.patch(f"{MINE}/{name}", {"spec": {"scheduling": {"gang": "None"}}})
    stage.until_running(NS, name)
