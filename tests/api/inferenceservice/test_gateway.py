"""A canary through a gateway: a real API server holds the HTTPRoute; the gateway itself is what the test says it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.api.inferenceservice.figures import Figures, Traffic
from tests.api.inferenceservice.gateways import (
    GRPC_ROUTES,
    ROUTES,
    accept,
    install_routes,
    remove_routes,
    until_weights,
)
from tests.api.inferenceservice.services import ADDRESSES, Town, predictor, revision
from tests.api.inferenceservice.test_traffic import CANARY, canary_of, served, two
from tests.api.operators import Operator
from tests.api.stage import Stage, marked

pytestmark = pytest.mark.api
__all__ = ["two"]
GATEWAY = {"parentRefs": [{"name": "public", "namespace": "infra"}], "hostnames": ["digits.example.com"]}
ROLLOUT = {**CANARY, "gateway": GATEWAY}
CHANGED = predictor(batching={"maxBatchSize": 8})


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Iterator[Operator]:
    """One that finds the Gateway API when it starts."""
    install_routes(stage.plane.client)
    running = operators(stage.namespace("gateway"), SLIPWAY_SERVER_IMAGE="registry.example.com/slipway/server:test")
    yield running
    running.kill()
    remove_routes(stage)


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Town:
    operator.ready()
    return Town(stage, "gateway")


def test_the_route_has_each_steps_share_and_the_old_pods_stay_until_the_gateway_knows(
    town: Town, name: str, two: tuple[Figures, Figures]
) -> None:
    first = served(town, name, two, rollout=ROLLOUT, replicas=2)
    route = until_weights(town, name, {name: 1})
    assert route["spec"]["parentRefs"] == GATEWAY["parentRefs"]
    assert route["spec"]["hostnames"] == GATEWAY["hostnames"]
    town.until(name, lambda s: marked(s, "GatewayReady", "Unknown", "GatewayPending"))
    accept(town, name)
    town.until(name, lambda s: marked(s, "GatewayReady", "True", "GatewayAccepted"))
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 10})):
        town.edit(name, predictor=CHANGED)
        newest = canary_of(town.until(name, lambda s: canary_of(s).get("name")))["name"]
        until_weights(town, name, {f"{name}-{first}": 75, f"{name}-{newest}": 25})
        quarter = town.until(name, lambda s: canary_of(s).get("phase") == "Analysing")
        assert canary_of(quarter)["actualPercent"] == 25
        shares = {share["revisionName"]: share["percent"] for share in quarter["components"]["predictor"]["traffic"]}
        assert shares == {first: 75, newest: 25}
        only = town.get(ADDRESSES, f"{name}-{newest}")["spec"]["selector"]
        assert only["slipway.dev/revision"] == newest
        until_weights(town, name, {f"{name}-{first}": 50, f"{name}-{newest}": 50})
        until_weights(town, name, {name: 1})
    assert set(town.deployments(name)) == {f"{name}-{first}", f"{name}-{newest}"}
    accept(town, name)
    town.until_deployments(name, lambda all_: set(all_) == {f"{name}-{newest}"})
    town.stage.until_gone(town.path(ADDRESSES), f"{name}-{first}")
    assert revision(town.until_ready(name)) == newest


def test_a_worse_one_has_no_share_any_more(town: Town, name: str, two: tuple[Figures, Figures]) -> None:
    first = served(town, name, two, rollout=ROLLOUT, replicas=2)
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 30, "errors": 10})):
        town.edit(name, predictor=CHANGED)
        back = town.until(name, lambda s: canary_of(s).get("phase") == "RolledBack", 60)
    until_weights(town, name, {name: 1})
    town.until_deployments(name, lambda all_: set(all_) == {f"{name}-{first}"})
    town.stage.until_gone(town.path(ADDRESSES), f"{name}-{canary_of(back)['name']}")
    town.edit(name, rollout={"gateway": None})
    town.stage.until_gone(town.path(ROUTES), name)


def test_grpc_has_a_route_with_the_same_shares(town: Town, name: str, two: tuple[Figures, Figures]) -> None:
    grpc = {"hostnames": ["grpc.example.com"]}
    first = served(town, name, two, rollout={**CANARY, "gateway": {**GATEWAY, "grpc": grpc}}, replicas=2)
    route = until_weights(town, name, {name: 1}, routes=GRPC_ROUTES)
    assert route["spec"]["parentRefs"] == GATEWAY["parentRefs"]
    assert route["spec"]["hostnames"] == grpc["hostnames"]
    until_weights(town, name, {name: 1})
    accept(town, name)
    town.until(name, lambda s: marked(s, "GatewayReady", "Unknown", "GatewayPending"))
    accept(town, name, GRPC_ROUTES)
    town.until(name, lambda s: marked(s, "GatewayReady", "True", "GatewayAccepted"))
    with Traffic((two[0], {"requests": 30}), (two[1], {"requests": 10})):
        town.edit(name, predictor=CHANGED)
        newest = canary_of(town.until(name, lambda s: canary_of(s).get("name")))["name"]
        shares = {f"{name}-{first}": 75, f"{name}-{newest}": 25}
        until_weights(town, name, shares)
        (rule,) = until_weights(town, name, shares, routes=GRPC_ROUTES)["spec"]["rules"]
        for backend in rule["backendRefs"]:
            ports = {port["port"]: port["targetPort"] for port in town.get(ADDRESSES, backend["name"])["spec"]["ports"]}
            assert ports[backend["port"]] == "grpc"
        # They are written side by side, in no order: the HTTPRoute may be the later one.
        for routes in (ROUTES, GRPC_ROUTES):
            until_weights(town, name, {name: 1}, routes=routes)
    accept(town, name)
    assert f"{name}-{first}" in town.deployments(name), "a gateway still goes by the old GRPCRoute"
    accept(town, name, GRPC_ROUTES)
    town.until_deployments(name, lambda all_: set(all_) == {f"{name}-{newest}"})
    town.edit(name, rollout={"gateway": {"grpc": None}})
    town.stage.until_gone(town.path(GRPC_ROUTES), name)
    until_weights(town, name, {name: 1})


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(town: Town, operator: Operator) -> None:
    assert operator.running(), operator.tail()
    assert "Traceback" not in operator.log.read_text(), operator.tail()
