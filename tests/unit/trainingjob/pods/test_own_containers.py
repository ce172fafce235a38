"""Containers of a user's own in a job's pods: rendered, counted, and of no weight in how the job is judged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import TrainingJobSpec, spec_problems
from slipway.reconcile.pods.observed import observe_pod
from slipway.trainingjob import pods
from slipway.trainingjob.job import Platform, TrainingJob
from slipway.trainingjob.queueing.claim import bill_of, demand_of
from tests.unit.api.admission import Admission

ADMISSION = Admission(trainingjob.KIND)


def spec(trainer: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    asked = {"limits": {"cpu": "2", "nvidia.com/gpu": 4}}
    return {"trainer": {"command": ["x"], "resourcesPerNode": asked, **(trainer or {})}, "pod": pod}


def job(body: dict[str, Any]) -> dict[str, Any]:
    kind = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob"}
    return {**kind, "metadata": {"name": "j", "namespace": "n"}, "spec": body}


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example.com/tools:1", **more}


def rendered(**pod: Any) -> dict[str, Any]:
    made = TrainingJobSpec.model_validate(spec(**pod))
    return pods.pod(TrainingJob("j", "n", "u", 1, made), 0, 0, Platform("trainer:1"))["spec"]


def test_they_are_rendered_beside_the_trainer_with_its_rights_and_no_more() -> None:
    mount = {"name": "data", "mountPath": "/data", "readOnly": False}
    fetch = container("fetch", command=["sh", "-c", "cp -r /x /data"], volumeMounts=[mount])
    watch = container("watch", env=[{"name": "A", "value": "b"}], resources={"limits": {"cpu": "1"}})
    made = rendered(initContainers=[fetch], sidecars=[watch], volumes=[{"name": "data", "emptyDir": {}}])
    assert [one["name"] for one in made["containers"]] == ["trainer", "watch"]
    assert made["containers"][1]["env"] == [{"name": "A", "value": "b"}]
    (first,) = made["initContainers"]
    assert first["command"] == ["sh", "-c", "cp -r /x /data"]
    assert first["volumeMounts"] == [mount, {"name": "slipway-tmp-2", "mountPath": "/tmp"}]
    for one in (*made["containers"], first):
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "initContainers" not in rendered()


def test_whole_configmaps_and_fields_of_the_pod_become_variables() -> None:
    origins = [
        {"configMapRef": {"name": "defaults", "optional": False}, "prefix": "HP_"},
        {"secretRef": {"name": "keys", "optional": True}},
    ]
    sources = [{"fieldRef": {"fieldPath": "spec.nodeName"}}, {"resourceFieldRef": {"resource": "limits.cpu"}}]
    env = [{"name": f"V{number}", "valueFrom": source} for number, source in enumerate(sources)]
    body = spec({"envFrom": origins, "env": env})
    assert ADMISSION.refusals(job(body)) == []
    made = TrainingJobSpec.model_validate(body)
    own = pods.pod(TrainingJob("j", "n", "u", 1, made), 0, 0, Platform("trainer:1"))["spec"]["containers"][0]
    assert own["envFrom"] == origins
    assert own["env"][-2:] == env


def test_what_they_ask_for_is_counted_when_the_gang_is_let_in() -> None:
    """As the scheduler counts: beside each other together, before the trainer what takes most."""
    beside = [container("watch", resources={"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}})]
    first = [container("fetch", resources={"limits": {"memory": "8Gi"}})]
    made = TrainingJobSpec.model_validate(spec(sidecars=beside, initContainers=first))
    assert demand_of(made).each == {"cpu": 2500, "nvidia.com/gpu": 4, "memory": 8 * 2**30}
    assert bill_of(made).limits == {"cpu": 3000, "nvidia.com/gpu": 4, "memory": 8 * 2**30}


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        ({"sidecars": [container("trainer")]}, "the operator's own container has this name"),
        ({"initContainers": [container("slipway-x")]}, "the operator's own container has this name"),
        ({"sidecars": [container("a")], "initContainers": [container("a")]}, "has the name of one of initContainers"),
        (
            {"sidecars": [container("a", volumeMounts=[{"name": "v", "mountPath": "/v"}])]},
            "sidecars: volumeMounts name",
        ),
        (
            {"initContainers": [container("a", volumeMounts=[{"name": "v", "mountPath": "/v"}])]},
            "initContainers: volumeMounts name",
        ),
        ({"sidecars": [container("a", env=[{"name": "RANK", "value": "1"}])]}, "the launcher sets this variable"),
    ],
)
def test_what_cannot_be_is_refused_in_words_by_server_and_operator_alike(pod: dict[str, Any], words: str) -> None:
    body = spec(**pod)
    assert any(words in refusal for refusal in ADMISSION.refusals(job(body)))
    assert any(words in problem for problem in spec_problems("j", body)[1])


@pytest.mark.parametrize(
    "source",
    [
        {"fieldRef": {"fieldPath": "status.phase"}},
        {"resourceFieldRef": {"resource": "limits.nvidia.com/gpu"}},
        {"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}},
        {},
    ],
)
def test_a_source_that_no_kubelet_knows_is_refused(source: dict[str, Any]) -> None:
    body = spec({"env": [{"name": "A", "valueFrom": source}]})
    assert ADMISSION.refusals(job(body))
    assert spec_problems("j", body)[1]


@pytest.mark.parametrize("origin", [{}, {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}])
def test_an_origin_of_variables_is_one_thing(origin: dict[str, Any]) -> None:
    body = spec({"envFrom": [origin]})
    assert any("set exactly one of configMapRef, secretRef" in words for words in ADMISSION.refusals(job(body)))
    assert any("set exactly one of configMapRef, secretRef" in words for words in spec_problems("j", body)[1])


def test_a_container_of_the_user_s_that_fails_before_the_trainer_is_told_with_its_code() -> None:
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no such bucket"}}
    status = {
        "phase": "Failed",
        "initContainerStatuses": [{"name": "fetch", "state": ended}],
        "containerStatuses": [{"name": "trainer", "state": {"waiting": {"reason": "PodInitializing"}}}],
    }
    marks = {"slipway.dev/replica-index": "0", "slipway.dev/attempt": "0"}
    pod = {
        "metadata": {"name": "j-node-0-a0", "uid": "p", "labels": marks},
        "spec": {"nodeName": "a"},
        "status": status,
    }
    seen = observe_pod(pod, datetime(2026, 1, 1, tzinfo=UTC), "trainer")
    assert seen.failure is not None
    assert (seen.failure.exit_code, seen.failure.message) == (3, "no such bucket")
