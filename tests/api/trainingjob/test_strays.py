"""Pods whose ownerReferences somebody took away, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.stage import PODS, Stage
from tests.cluster.scripted.script import Script

pytestmark = pytest.mark.api


@pytest.mark.parametrize("owners", [None, []])
def test_a_pod_that_lost_its_owner_ends_before_the_next_attempt_begins(
    stage: Stage, name: str, namespace: str, operators: Any, owners: list[Any] | None
) -> None:
    """Two attempts ran at once, and the first of them for ever."""
    operators(namespace).ready()
    stage.scripts[name] = lambda pod: Script(runs_for=None, stops_after=1.0)
    stage.create(namespace, name, numNodes=2)
    stage.until_running(namespace, name)
    stage.plane.client.patch(f"{PODS.format(namespace)}/{name}-node-1-a0", {"metadata": {"ownerReferences": owners}})

    def checked(pods: dict[str, Any]) -> bool:
        live = {n[-2:] for n, pod in pods.items() if pod["status"]["phase"] in {"Pending", "Running"}}
        assert len(live) <= 1, f"two gangs at once: {sorted(pods)}"
        return sum(n.endswith("a1") for n in pods) == 2 and f"{name}-node-1-a0" not in pods

    stage.until_pods(namespace, name, checked)
    status = stage.until_running(namespace, name, attempt=1)["status"]
    assert (status["restartCount"], status.get("restartCountTowardsMax", 0)) == (1, 0)
    assert "ownerReferences" in status["lastFailure"]["message"]
