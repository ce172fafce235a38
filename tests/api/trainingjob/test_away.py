"""What happened while no operator ran is told as it was, on a real API server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.operators import Operator
from tests.api.stage import PODS, Stage
from tests.cluster.script import Exit

pytestmark = pytest.mark.api


def test_a_pod_deleted_while_the_operator_was_away_is_the_one_that_the_status_names(
    stage: Stage, name: str, namespace: str, operators: Callable[..., Operator]
) -> None:
    """Its peer ends by SIGTERM, as launchers end what is left of a gang, and was blamed for it."""
    operator = operators(namespace)
    stage.create(namespace, name, numNodes=2)
    stage.until_running(namespace, name)
    operator.kill()
    deleted, peer = f"{name}-node-0-a0", f"{name}-node-1-a0"
    stage.delete(PODS.format(namespace), deleted)
    stage.until_gone(PODS.format(namespace), deleted)
    stage.finish(namespace, peer, Exit(code=143))
    stage.until_pods(namespace, name, lambda pods: pods[peer]["status"]["phase"] == "Failed")
    operator.start()
    status = stage.until_running(namespace, name, attempt=1)["status"]
    assert status["lastFailure"].items() >= {"pod": deleted, "reason": "PodDeleted", "attempt": 0}.items()
    assert f"pod {peer}" in status["lastFailure"]["message"]
    assert status["restartCount"] == 1
    operator.kill()
