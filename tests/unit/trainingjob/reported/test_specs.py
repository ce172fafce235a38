"""Specs that users of other job controllers have reported in public, each tried here; named by its issue there."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import spec_problems
from tests.unit.api.admission import Admission
from tests.unit.trainingjob.rendered import job_of, pod_of

ADMISSION = Admission(trainingjob.KIND)
KIND = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob"}
QUEUE = "kueue.x-k8s.io/queue-name"


def refused(words: str, **spec: Any) -> bool:
    """By the server's rules and by the operator's own."""
    body = {"trainer": {"command": ["x"]}, **spec}
    by_server = ADMISSION.refusals({**KIND, "metadata": {"name": "j", "namespace": "n"}, "spec": body})
    by_operator = spec_problems("j", body)[1]
    assert bool(by_server) == bool(by_operator), (by_server, by_operator)
    return any(words in told for told in by_server) and any(words in told for told in by_operator)


def _env(job: Any, index: int = 0) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in pod_of(job, index)["spec"]["containers"][0]["env"]}


def test_trainer_1947_and_2277_all_nodes_and_their_processes_are_counted() -> None:
    elastic: dict[str, Any] = {"elasticPolicy": {"minNodes": 2, "maxNodes": 4}, "numNodes": 3, "numProcPerNode": 2}
    assert _env(job_of(**elastic))["PET_NNODES"] == "2:4"
    assert _env(job_of(**elastic))["PET_NPROC_PER_NODE"] == "2"
    fixed = _env(job_of(numNodes=3, numProcPerNode=2), 1)
    assert (fixed["PET_NNODES"], fixed["WORLD_SIZE"], fixed["PET_NODE_RANK"]) == ("3", "6", "1")


def test_flyte_5417_a_job_of_no_nodes_is_refused() -> None:
    assert refused("", numNodes=0)


@pytest.mark.parametrize(
    ("pod", "name"),
    [
        ({"labels": {QUEUE: "team"}}, "Kueue"),
        ({"labels": {"kueue.x-k8s.io/pod-group-name": "somebody-elses"}}, "Kueue"),
        ({"annotations": {"scheduling.k8s.io/group-name": "g"}}, "Volcano"),
        ({"labels": {"scheduling.x-k8s.io/pod-group": "g"}}, "Coscheduling"),
    ],
)
def test_kueue_13960_and_1527_pods_of_two_lines_wait_for_each_other(pod: dict[str, Any], name: str) -> None:
    """With one of these marks and the operator's own line, each pod waited in a line for itself."""
    assert refused("set scheduling.gang", pod=pod)
    others = {"Kueue": {"gang": "Kueue", "queue": "q"}}.get(name, {"gang": name})
    made = pod_of(job_of(pod=pod, scheduling=others))["metadata"]
    mine = {**made["labels"], **made.get("annotations", {})}
    key, theirs = next(iter({**pod.get("labels", {}), **pod.get("annotations", {})}.items()))
    assert mine[key] != theirs, "the operator's own word"
    assert not refused("set scheduling.gang", pod=pod, scheduling={"gang": "None"})
