"""`kubectl drain` under a service of one replica, against the server's own evictions and disruption controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.inferenceservice.services import DEPLOYMENTS, SERVICES, Town
from tests.api.operators import Operator
from tests.api.stage import PODS, Object, Stage, marked
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Script

pytestmark = pytest.mark.api
SERVER = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:test"}
DRAINED, OTHER = "node-0", "node-1"
# More than a replacement may be without a node.
AHEAD = 400


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Operator:
    return operators(stage.namespace("drains"), **SERVER)


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Iterator[Town]:
    operator.ready()
    yield Town(stage, "drains")
    cordon(stage, cordoned=False)


def cordon(stage: Stage, *, cordoned: bool = True) -> None:
    """As `kubectl cordon`, with which a drain begins."""
    stage.plane.client.patch(f"/api/v1/nodes/{DRAINED}", {"spec": {"unschedulable": cordoned or None}})


def evicted(stage: Stage, pod: str) -> bool:
    """Whether the server lets a pod go, as `kubectl drain` asks it."""
    version = "v1" if stage.plane.release.minor >= 22 else "v1beta1"
    body = {"apiVersion": f"policy/{version}", "kind": "Eviction", "metadata": {"name": pod, "namespace": "drains"}}
    try:
        stage.plane.client.call("POST", f"{PODS.format('drains')}/{pod}/eviction", body)
    except ApiError as error:
        if error.code != 429:
            raise
        return False
    return True


def budgets(town: Town) -> str:
    version = "v1" if town.stage.plane.release.minor >= 25 else "v1beta1"
    return f"/apis/policy/{version}/namespaces/drains/poddisruptionbudgets"


def ready(pod: Object) -> bool:
    return marked(pod.get("status") or {}, "Ready") and "deletionTimestamp" not in pod["metadata"]


def placed(town: Town, name: str, **later: Any) -> str:
    """A service whose first pod is on the node that will be drained, and later ones elsewhere; returns that pod."""
    town.stage.scripts[name] = lambda _: Script(runs_for=None, node=DRAINED)
    town.create(name, predictor={"model": {"uri": "pvc://models/digits"}, "startupSeconds": 600})
    town.until_ready(name)
    [pod] = town.stage.until_pods("drains", name, lambda all_: [p for p in all_.values() if ready(p)])
    town.stage.scripts[name] = lambda _: Script(runs_for=None, **{"node": OTHER, **later})
    holds = lambda o: (o.get("status") or {}).get("currentHealthy") == 1  # noqa: E731
    assert town.stage.until_object(budgets(town), name, holds)["spec"]["minAvailable"] == 1
    return pod


def test_a_drain_starts_the_replacement_first_and_the_service_is_never_away(town: Town, name: str) -> None:
    old = placed(town, name)
    assert not evicted(town.stage, old)
    cordon(town.stage)
    town.until(name, lambda s: marked(s, "ReplacementReady", "True", "ReplacementReady"))
    holds = lambda o: o["status"]["disruptionsAllowed"] == 1  # noqa: E731
    town.stage.until_object(budgets(town), name, holds)
    assert evicted(town.stage, old)
    least: list[int] = []

    def over(pods: dict[str, Object]) -> bool:
        least.append(sum(map(ready, pods.values())))
        return old not in pods and len(pods) == 1

    [new] = town.stage.until_pods("drains", name, over).values()
    assert new["spec"]["nodeName"] == OTHER
    assert min(least) >= 1
    status = town.until(name, lambda s: not [c for c in s["conditions"] if c["type"] == "ReplacementReady"])
    assert marked(status, "Ready", "True", "Serving")
    town.until_deployments(name, lambda all_: [d["spec"]["replicas"] for d in all_.values()] == [1])
    assert not evicted(town.stage, new["metadata"]["name"])


def test_a_drain_goes_on_where_no_node_takes_the_replacement_though_the_operator_was_killed(
    town: Town, name: str, operator: Operator
) -> None:
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    old = placed(town, name, unschedulable=words)
    cordon(town.stage)
    town.until(name, lambda s: marked(s, "ReplacementReady", "False", "ReplacementStarting"))
    assert not evicted(town.stage, old)
    operator.kill()
    operator.clock_ahead(AHEAD)
    operator.start()
    try:
        holds = lambda s: marked(s, "ReplacementReady", "False", "ReplacementOverdue")  # noqa: E731
        told = town.until(name, holds, 60)
        town.stage.until_gone(budgets(town), name)
        assert any(words in c["message"] for c in told["conditions"] if c["type"] == "ReplacementReady")
        assert evicted(town.stage, old)
        town.stage.until_object(budgets(town), name, lambda o: o["spec"]["minAvailable"] == 1)
        town.stage.until_object(town.path(DEPLOYMENTS), next(iter(town.deployments(name))), one)
    finally:
        town.stage.remove(town.path(SERVICES, name))
        operator.kill()
        operator.clock_ahead(0)
        operator.start()


def one(deployment: Object) -> bool:
    return bool(deployment["spec"]["replicas"] == 1)
