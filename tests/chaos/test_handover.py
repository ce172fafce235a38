"""Two operators and one lease: whoever leads works, the other waits, and a former leader writes nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.stage import PATIENCE, Stage
from tests.chaos.test_crashes import creations, stumble
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api


class Pair:
    """Two operators, each with a user of its own, so that the audit log tells them apart."""

    def __init__(self, stage: Stage, namespace: str, operators: Callable[..., Operator]) -> None:
        self._stage, self._namespace = stage, namespace
        self.users = [f"{namespace}-a", f"{namespace}-b"]
        self.both = [
            operators(
                namespace,
                stage.plane.kubeconfig_for_user(user, ["system:masters"]),
                SLIPWAY_LEASE_NAMESPACE=namespace,
                SLIPWAY_IDENTITY=user,
            )
            for user in self.users
        ]

    def leader(self, seconds: float = 60, other_than: int | None = None) -> int:
        """Which of the two holds the lease, once one does."""
        deadline = time.monotonic() + seconds * PATIENCE
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/slipway-operator"
        while time.monotonic() < deadline:
            holder = self._holder(path)
            found = next((i for i, user in enumerate(self.users) if user in holder), None)
            if found is not None and found != other_than:
                return found
            time.sleep(0.1)
        raise AssertionError("nobody leads")

    def _holder(self, path: str) -> str:
        if not self._stage.exists(path):
            return ""
        return str(self._stage.plane.client.get(path)["spec"].get("holderIdentity") or "")

    def writes(self, which: int) -> list[dict[str, Any]]:
        """What one of them has changed, but for the lease."""
        return [
            event
            for event in self._stage.writes(self._namespace)
            if event["user"]["username"] == self.users[which] and "/leases" not in event["requestURI"]
        ]


def fails_once(pod: dict[str, Any]) -> Script:
    """Node 1 fails in the first attempt; the second one runs until it is told to end."""
    fails = pod["metadata"]["name"].endswith("node-1-a0")
    return Script(runs_for=0.3, exit=Exit(code=1)) if fails else Script(runs_for=None)


def works(stage: Stage, namespace: str, name: str) -> None:
    """A job that stumbles once ends as it should."""
    stage.scripts[name] = stumble
    stage.create(namespace, name, numNodes=2)
    status = stage.until_condition(namespace, name, "Succeeded", seconds=60)
    assert (status["restartCount"], status["attempt"]) == (1, 1)
    assert set(creations(stage, namespace, name).values()) == {1}


def test_a_leader_that_is_told_to_stop_hands_over(
    stage: Stage, namespace: str, operators: Callable[..., Operator]
) -> None:
    pair = Pair(stage, namespace, operators)
    first = pair.leader()
    works(stage, namespace, "before")
    assert not pair.writes(1 - first), "the other one waits"
    assert pair.both[first].stop() == 0
    assert pair.leader(other_than=first) == 1 - first
    before = len(pair.writes(first))
    works(stage, namespace, "after")
    assert len(pair.writes(first)) == before


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_leader_that_falls_silent_is_followed_and_never_writes_again(
    stage: Stage, namespace: str, operators: Callable[..., Operator], end: signal.Signals
) -> None:
    pair = Pair(stage, namespace, operators)
    first = pair.leader()
    stage.scripts["job"] = fails_once
    stage.create(namespace, "job", numNodes=2)
    stage.until_running(namespace, "job", attempt=1)
    process = pair.both[first].process
    process.send_signal(end)
    before = len(pair.writes(first))
    stage.create(namespace, "next", numNodes=1)
    assert pair.leader(other_than=first) == 1 - first
    stage.until_running(namespace, "next")
    for index in range(2):
        stage.finish(namespace, f"job-node-{index}-a1")
    process.send_signal(signal.SIGCONT)
    process.wait(30 * PATIENCE)
    status = stage.until_condition(namespace, "job", "Succeeded")
    assert (status["restartCount"], status["attempt"]) == (1, 1)
    assert len(pair.writes(first)) == before, "a former leader writes nothing"
