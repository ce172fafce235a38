"""An image that only runs as root, and when an image is pulled: the official ones of frameworks run as root."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.reconcile.pods.observed import observe_pod
from tests.unit.trainingjob.pods.pod_security import violations
from tests.unit.trainingjob.rendered import job_of, pod_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_image_that_runs_as_root_may_when_the_user_says_so() -> None:
    context = pod_of(job_of(pod={"runAsNonRoot": False}))["spec"]["securityContext"]
    assert context == {"runAsNonRoot": False, "seccompProfile": {"type": "RuntimeDefault"}}


def test_nothing_runs_as_root_unless_the_user_says_so() -> None:
    pod = pod_of(job_of(pod={"runAsUser": 1000, "runAsGroup": 3000}))
    assert pod["spec"]["securityContext"].items() >= {"runAsNonRoot": True, "runAsGroup": 3000}.items()
    assert violations(pod) == []


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
def test_an_image_is_pulled_when_the_user_says(policy: str) -> None:
    assert pod_of(job_of(pod={"imagePullPolicy": policy}))["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_the_cluster_decides_when_an_image_is_pulled_by_default() -> None:
    assert "imagePullPolicy" not in pod_of(job_of())["spec"]["containers"][0]


@pytest.mark.parametrize(
    "words",
    [
        "container has runAsNonRoot and image will run as root",
        'container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root (pod: "a")',
    ],
)
def test_a_pod_that_would_run_as_root_is_told_the_field_to_set(words: str) -> None:
    waiting: dict[str, Any] = {"reason": "CreateContainerConfigError", "message": words}
    pod = {
        "metadata": {"name": "a-0", "uid": "u", "labels": {}},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "trainer", "state": {"waiting": waiting}}]},
    }
    obstacle = observe_pod(pod, NOW, "trainer").obstacle
    assert obstacle is not None
    assert words in obstacle.message
    assert "pod.runAsUser" in obstacle.message
    assert "pod.runAsNonRoot" in obstacle.message
