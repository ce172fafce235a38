"""Forged members of a gang: from another namespace nothing counts, and in the job's own neither does a label.

Each of these did what its name says to the job before pods were told apart by namespace, kind, UID and name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.forged.tenant import Tenant, looked_at, owner
from tests.api.operators import Operator
from tests.api.stage import JOBS, PODS, Object, Stage
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
ONE_TRY = {"maxRestarts": 0}
THEIRS = {"uri": "s3://strangers/model", "digest": "sha256:" + "0" * 64}
OURS = {"uri": "pvc://models/digits", "digest": "sha256:" + "1" * 64}


def words(artifact: dict[str, str]) -> str:
    """A trainer's last words."""
    return json.dumps({"artifact": artifact})


def running(stage: Stage, namespace: str, name: str) -> Object:
    """A job of one pod that ends when it is told to."""
    stage.scripts[name] = lambda pod: Script(runs_for=None)
    stage.create(namespace, name, failurePolicy=ONE_TRY)
    return stage.until_running(namespace, name)


def unharmed(stage: Stage, namespace: str, name: str) -> None:
    """The job is in its first attempt and takes its artifact from its own pod."""
    status = looked_at(stage, namespace, name)
    assert not any(c["type"] == "Failed" and c["status"] == "True" for c in status["conditions"]), status
    assert (status.get("attempt", 0), status["restartCount"]) == (0, 0), status
    assert status["replicaStatuses"]["active"] == 1
    stage.finish(namespace, f"{name}-node-0-a0", Exit(message=words(OURS)))
    done = stage.until_condition(namespace, name, "Succeeded")
    assert done["artifact"].items() >= OURS.items()


def test_a_failed_pod_of_another_namespace_does_not_fail_the_job(
    stage: Stage, victim: str, stranger: Tenant, name: str
) -> None:
    job = running(stage, victim, name)
    stranger.end(stranger.forge(job, f"{name}-node-0-a0"), exitCode=1)
    unharmed(stage, victim, name)


def test_a_pod_of_another_namespace_names_no_artifact(stage: Stage, victim: str, stranger: Tenant, name: str) -> None:
    job = running(stage, victim, name)
    stranger.end(stranger.forge(job, "a"), exitCode=0, message=words(THEIRS))
    unharmed(stage, victim, name)


def test_a_later_attempt_from_another_namespace_restarts_nothing(
    stage: Stage, victim: str, stranger: Tenant, name: str
) -> None:
    job = running(stage, victim, name)
    stranger.forge(job, f"{name}-node-0-a7", attempt=7)
    unharmed(stage, victim, name)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"kind": "QuantizationJob"}, id="another kind"),
        pytest.param({"apiVersion": "example.com/v1"}, id="another group"),
        pytest.param({"controller": False}, id="not the controller"),
    ],
)
def test_in_the_jobs_own_namespace_the_reference_must_be_right(
    stage: Stage, victim: str, insider: Tenant, name: str, change: Object
) -> None:
    job = running(stage, victim, name)
    marks = insider.forge(job, f"{name}-x", owned=False)["metadata"]["labels"]
    for attempt, code in ((0, 1), (7, 0)):
        numbers = {**marks, "slipway.dev/attempt": str(attempt)}
        pod = insider.pod(
            f"{name}-node-9-a{attempt}", {**numbers, "slipway.dev/replica-index": "9"}, [owner(job, **change)]
        )
        insider.end(pod, exitCode=code, message=words(THEIRS))
    unharmed(stage, victim, name)


@pytest.mark.parametrize(("index", "attempt"), [(0, 0), (1, 0), (0, 7)], ids=["twin", "surplus", "later attempt"])
def test_in_the_jobs_own_namespace_labels_must_fit_the_name(
    stage: Stage, victim: str, insider: Tenant, name: str, index: int, attempt: int
) -> None:
    job = running(stage, victim, name)
    insider.end(insider.forge(job, "a", index=index, attempt=attempt), exitCode=0, message=words(THEIRS))
    insider.end(insider.forge(job, "b", index=index, attempt=attempt), exitCode=1)
    unharmed(stage, victim, name)


def test_the_next_leader_is_not_fooled_by_what_it_finds(
    stage: Stage, stranger: Tenant, name: str, operators: Callable[..., Operator], tmp_path: Path
) -> None:
    """Two replicas; the one that takes over learns of forged pods from its first LIST."""
    home = stage.namespace(f"replicas-{name}")
    lease = {"SLIPWAY_LEASE_NAMESPACE": home}
    first = operators(home, stage.plane.kubeconfig, **lease, SLIPWAY_IDENTITY="first")
    first.ready()
    second = operators(home, stage.plane.kubeconfig, **lease, SLIPWAY_IDENTITY="second")
    job = running(stage, home, name)
    for index, attempt in ((0, 0), (0, 3)):
        pod = stranger.forge(job, f"{name}-node-{index}-a{attempt}", index=index, attempt=attempt)
        stranger.end(pod, exitCode=1, message=words(THEIRS))
    first.kill()
    second.ready()
    unharmed(stage, home, name)


def test_nobody_is_deleted_for_somebody_else(stage: Stage, victim: str, stranger: Tenant, name: str) -> None:
    """When the job ends, its pods go; the operator writes nothing in the other namespace."""
    job = running(stage, victim, name)
    forged = stranger.forge(job, f"{name}-node-0-a0")
    stage.finish(victim, f"{name}-node-0-a0", Exit(code=1))
    stage.until_condition(victim, name, "Failed")
    stage.delete(JOBS.format(victim), name)
    stage.until_gone(JOBS.format(victim), name)
    assert stage.exists(f"{PODS.format(stranger.namespace)}/{forged['metadata']['name']}")
    assert stage.writes(stranger.namespace) == []
