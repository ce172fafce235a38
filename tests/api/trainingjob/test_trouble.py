"""Nothing waits silently: what keeps a job from running is in its status within two seconds, in the server's words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import SHARED as NS
from tests.api.operators import Operator
from tests.api.stage import JOBS, PATIENCE, PODS, Stage, condition, marked
from tests.cluster.scripted.script import Exit, Script
from tests.unit.api.manifests import WRONG, Wrong

pytestmark = pytest.mark.api


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (Script(unschedulable="0/3 nodes are available: 3 Insufficient gpu."), "Unschedulable", "Insufficient gpu"),
        (Script(waiting="ErrImagePull", waiting_message="manifest unknown"), "ImagePullError", "manifest unknown"),
        (
            Script(waiting="CreateContainerConfigError", waiting_message='secret "s" not found'),
            "ContainerConfigError",
            'secret "s" not found',
        ),
    ],
    ids=["unschedulable", "image", "secret"],
)
@pytest.mark.usefixtures("shared_operator")
def test_what_keeps_pods_from_running_is_shown_and_meets_the_startup_deadline(
    stage: Stage, name: str, script: Script, reason: str, words: str
) -> None:
    stage.scripts[name] = lambda pod: script
    stage.create(NS, name, runPolicy={"startupDeadlineSeconds": 3})
    shown = stage.until_condition(NS, name, "Running", "False", reason, seconds=2)
    for kind in ("Running", "Ready", "Reconciling"):
        assert words in condition(shown, kind)["message"]  # type: ignore[index]
    failed = stage.until_condition(NS, name, "Failed", reason="StartupDeadlineExceeded", seconds=10)
    assert words in condition(failed, "Failed")["message"]  # type: ignore[index]
    stage.until_pods(NS, name, lambda pods: not pods)


def test_a_quota_is_shown_and_the_job_goes_on_when_it_is_lifted(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    operators(namespace).ready()
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    stage.plane.client.call("POST", quotas, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
    _until_enforced(stage, quotas)
    stage.create(namespace, name, numNodes=3)
    shown = stage.until_condition(namespace, name, "Created", "False", "CreateRefused", seconds=2)
    assert "exceeded quota: q" in condition(shown, "Ready")["message"]  # type: ignore[index]
    assert condition(shown, "Ready")["status"] == "Unknown"  # type: ignore[index]
    stage.plane.client.patch(f"{quotas}/q", {"spec": {"hard": {"pods": "3"}}})
    # Taken back and tried again under another number, if the job was faster than the news of the quota.
    status = stage.until_job(namespace, name, lambda s: marked(s, "Running"), seconds=40)["status"]
    assert condition(status, "Created")["status"] == "True"  # type: ignore[index]
    assert status["restartCount"] == 0


def _until_enforced(stage: Stage, quotas: str) -> None:
    from tests.api.watching import watch

    watch(stage.plane.client, quotas, lambda all_: all_["q"].get("status", {}).get("hard"))


def test_a_missing_right_is_shown(stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]) -> None:
    """An operator with the rights to everything but pods' creation."""
    kubeconfig = stage.plane.kubeconfig_for_user("half", ["half"])
    rules: list[dict[str, Any]] = [
        {"apiGroups": ["slipway.dev", "apps"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["autoscaling", "batch", "policy"], "resources": ["*"], "verbs": ["*"]},
    ]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    stage.plane.client.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": "half"}, "rules": rules})
    subject = {"kind": "Group", "name": "half", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "half", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "half"}, "subjects": [subject], "roleRef": role}
    stage.plane.client.call("POST", f"{rbac}/clusterrolebindings", binding)
    operator = operators(namespace, kubeconfig)
    operator.ready()
    stage.create(namespace, name, runPolicy={"startupDeadlineSeconds": 4})
    shown = stage.until_condition(namespace, name, "Created", "False", "CreateRefused", seconds=2)
    message = condition(shown, "Ready")["message"]  # type: ignore[index]
    assert 'cannot create resource "pods"' in message
    stage.until_condition(namespace, name, "Failed", reason="StartupDeadlineExceeded", seconds=10)
    assert operator.running()
    operator.kill()
    stage.remove(f"{rbac}/clusterrolebindings/half", f"{rbac}/clusterroles/half")


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize("kind", ["pods", "configmaps", "services"])
def test_a_strangers_object_is_neither_adopted_nor_overwritten(stage: Stage, name: str, kind: str) -> None:
    taken = {"pods": f"{name}-node-0-a0", "configmaps": f"{name}-job", "services": f"{name}-nodes"}[kind]
    content: dict[str, Any] = {
        "pods": {"spec": {"containers": [{"name": "c", "image": "theirs"}]}},
        "configmaps": {"data": {"theirs": "1"}},
        "services": {"spec": {"ports": [{"port": 1}], "clusterIP": "None"}},
    }[kind]
    collection = f"/api/v1/namespaces/{NS}/{kind}"
    stranger = stage.plane.client.call("POST", collection, {"metadata": {"name": taken}, **content})
    stage.create(NS, name)
    shown = stage.until_condition(NS, name, "Created", "False", "NameConflict", seconds=2)
    assert taken in condition(shown, "Ready")["message"]  # type: ignore[index]
    still = stage.plane.client.get(f"{collection}/{taken}")
    assert still["metadata"]["uid"] == stranger["metadata"]["uid"]
    assert still.get("data") == stranger.get("data")
    assert "ownerReferences" not in still["metadata"]
    stage.delete(collection, taken, gracePeriodSeconds=0)
    assert stage.until_running(NS, name)["status"]["restartCount"] == 0


@pytest.mark.usefixtures("shared_operator")
def test_a_lost_node_is_not_waited_for(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(
        runs_for=None, node="node-2" if pod["metadata"]["name"].endswith("1-a0") else "node-0"
    )
    stage.create(
        NS, name, numNodes=2, failurePolicy={"nodeLostGraceSeconds": 1}, pod={"terminationGracePeriodSeconds": 1}
    )
    stage.until_running(NS, name)
    try:
        stage.lose_node("node-2")
        ghost = f"{PODS.format(NS)}/{name}-node-1-a0"
        silent = [{"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}]
        stage.plane.client.patch(f"{ghost}/status", {"status": {"conditions": silent}})
        stage.delete(PODS.format(NS), f"{name}-node-1-a0")  # as the taint manager does
        again = stage.until_running(NS, name, attempt=1)["status"]
        assert again["lastFailure"].items() >= {"reason": "NodeLost", "node": "node-2"}.items()
        assert not stage.exists(ghost), "deleted by force"
    finally:
        stage.return_node("node-2")


@pytest.mark.usefixtures("shared_operator")
def test_the_active_deadline_fires_on_a_quiet_job(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=2, runPolicy={"activeDeadlineSeconds": 3})
    stage.until_running(NS, name)
    started = time.monotonic()
    failed = stage.until_condition(NS, name, "Failed", reason="DeadlineExceeded", seconds=10)
    assert time.monotonic() - started >= 1.9
    assert failed["completionTime"]
    assert failed["replicaStatuses"]["active"] == 0
    stage.until_pods(NS, name, lambda pods: not pods)


def test_a_delete_that_is_refused_is_tried_again(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    """A webhook that cannot be reached refuses every deletion of pods: the pods must go when it is away."""
    operators(namespace).ready()
    stage.create(namespace, name, runPolicy={"activeDeadlineSeconds": 2})
    stage.until_running(namespace, name)
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    stage.plane.client.call("POST", hooks, _unreachable_webhook())
    try:
        stage.until_condition(namespace, name, "Failed", reason="DeadlineExceeded", seconds=15)
        refused = _until_refused(stage, namespace)
        assert refused["responseStatus"]["code"] >= 400
        assert stage.exists(f"{PODS.format(namespace)}/{name}-node-0-a0")
    finally:
        stage.delete(hooks, "no-deletes")
    stage.until_pods(namespace, name, lambda pods: not pods, seconds=30)


def _unreachable_webhook() -> dict[str, Any]:
    return {
        "metadata": {"name": "no-deletes"},
        "webhooks": [
            {
                "name": "no.deletes.example.com",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": [{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
                "namespaceSelector": {},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1,
            }
        ],
    }


def _until_refused(stage: Stage, namespace: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20 * PATIENCE
    while time.monotonic() < deadline:
        found = [
            e
            for e in stage.writes(namespace)
            if e["verb"] == "delete" and e.get("responseStatus", {}).get("code", 0) >= 400
        ]
        if found:
            return found[-1]
        time.sleep(0.1)  # the audit log is a file: there is nothing to watch
    raise AssertionError("no deletion was refused")


def test_time_to_live_survives_a_restart_of_the_operator(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    operator = operators(namespace)
    stage.scripts[name] = lambda pod: Script(exit=Exit(code=1))
    stage.create(namespace, name, runPolicy={"ttlSecondsAfterFinished": 4}, failurePolicy={"maxRestarts": 0})
    stage.until_condition(namespace, name, "Failed", seconds=40)
    operator.kill()
    operator.start()
    stage.until_gone(JOBS.format(namespace), name, seconds=30)
    stage.until_pods(namespace, name, lambda pods: not pods)


# What the schema lets through on a server without CEL: one of each kind, for the operator to refuse.
# (An empty string is refused by Kubernetes 1.20 itself, when a Go of today has compiled it.)
INVALID = [wrong for wrong in WRONG if wrong.by != "schema" and wrong.name != "empty command"][:30]


@pytest.mark.usefixtures("shared_operator")
def test_invalid_manifests_end_in_a_condition(stage: Stage, shared_operator: Operator, name: str) -> None:
    stage.without_cel()
    shared_operator.ready()
    assert len(INVALID) >= 20
    told: dict[str, str] = {}
    for number, wrong in enumerate(INVALID):
        _create_wrong(stage, wrong, f"{name}-{number}", told)
    for job, words in told.items():
        status = stage.until_condition(NS, job, "Stalled", reason="InvalidSpec", seconds=10)
        assert condition(status, "Ready")["status"] == "False"  # type: ignore[index]
        assert words in condition(status, "Stalled")["message"]  # type: ignore[index]
    assert len(told) >= 20, "the schema refused what it should not"
    assert shared_operator.running()
    assert not stage.until_pods(NS, f"{name}-0", lambda pods: True)


def _create_wrong(stage: Stage, wrong: Wrong, job: str, told: dict[str, str]) -> None:
    named = wrong.job_name if wrong.job_name != "digits" else job
    body = wrong.manifest
    body["metadata"] = {"name": named, "namespace": NS}
    stage.plane.client.call("POST", JOBS.format(NS), body)
    told[named] = wrong.words
