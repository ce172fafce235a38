"""Through a gateway: weights that are the steps' shares exactly, and nobody who still gets requests is taken away."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from slipway.inferenceservice.service import GRPC_ROUTES, ROUTES
from slipway.runtime import conditions
from slipway.runtime.client.resource import SERVICES
from tests.unit.inferenceservice import looks, world

Object = dict[str, Any]
GATEWAY = {"parentRefs": [{"name": "public", "namespace": "infra"}], "hostnames": ["digits.example.com"]}
ROUTED = replace(looks.PLATFORM, routes=ROUTES[0], grpc_routes=GRPC_ROUTES[0])
GRPC = {"hostnames": ["grpc.example.com"]}


class Behind(world.World):
    """A world with the Gateway API, whose gateway takes in a route when it is told to."""

    def __init__(self, grpc: Object | None = None, rollout: Object = world.ROLLOUT) -> None:
        self.rollout = rollout
        self.gateway = {**GATEWAY, **({"grpc": grpc} if grpc else {})}
        self.routes: dict[str, Object] = {}
        self.grpc_routes: dict[str, Object] = {}
        self.services: dict[str, Object] = {}
        self.prompt = True
        # What each look left behind: weights by backend, and the Deployments.
        self.seen: list[tuple[dict[str, int], set[str]]] = []
        super().__init__()

    def look(self) -> Any:
        self.spec = {**self.spec, "rollout": {**self.rollout, "gateway": self.gateway}}
        metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
        obj = {"metadata": metadata, "spec": self.spec, "status": self.status}
        beside = {ROUTES[0]: self.routes, GRPC_ROUTES[0]: self.grpc_routes, SERVICES: self.services}
        return looks.look(
            obj, self.deployments.values(), self.pods, now=self.now, window=self.window, platform=ROUTED, beside=beside
        )

    def once(self) -> bool:
        decision = self.look()
        for delete in decision.deletes:
            here = {SERVICES: self.services, ROUTES[0]: self.routes, GRPC_ROUTES[0]: self.grpc_routes}
            here.get(delete.resource, {}).pop(delete.name, None)
        for write in decision.writes:
            self._write(write.resource, copy.deepcopy(write.manifest))
        self.look = lambda: decision  # type: ignore[method-assign]
        changed = super().once()
        del self.look
        if self.routes:
            self.seen.append((self.weights(), set(self.deployments)))
        return changed

    def _write(self, resource: Any, body: Object) -> None:
        name = body["metadata"]["name"]
        if resource is SERVICES:
            self.services[name] = {**body, "metadata": {**body["metadata"], "uid": f"s-{name}"}}
        elif resource in (ROUTES[0], GRPC_ROUTES[0]):
            routes = self.routes if resource is ROUTES[0] else self.grpc_routes
            known = routes.get(name, {"metadata": {"generation": 0}})
            body["metadata"] |= {"uid": "r", "generation": known["metadata"]["generation"] + 1}
            routes[name] = {**body, "status": known.get("status")}
            if self.prompt:
                self.accept(routes=routes)

    def accept(self, status: str = "True", message: str = "", routes: dict[str, Object] | None = None) -> None:
        route = (self.routes if routes is None else routes)["digits"]
        mark = {"type": "Accepted", "status": status, "reason": "Accepted" if status == "True" else "NotAllowed"}
        mark |= {"observedGeneration": route["metadata"]["generation"], "message": message}
        route["status"] = {"parents": [{"conditions": [mark]}]}

    def weights(self, routes: dict[str, Object] | None = None) -> dict[str, int]:
        (rule,) = (self.routes if routes is None else routes)["digits"]["spec"]["rules"]
        return {b["name"].removeprefix("digits-"): b["weight"] for b in rule["backendRefs"]}

    def ready(self) -> Object:
        return conditions.get(self.status["conditions"], "GatewayReady") or {}


def begun(grpc: Object | None = None) -> tuple[Behind, str, str]:
    there = Behind(grpc)
    (first,) = there.revisions()
    there.edit(maxBatchSize=8)
    there.settle()
    return there, first, there.canary["name"]


def test_without_a_canary_the_route_leads_to_the_one_service():
    there = Behind()
    assert there.weights() == {"digits": 1}
    spec = there.routes["digits"]["spec"]
    assert (spec["parentRefs"], spec["hostnames"]) == (GATEWAY["parentRefs"], GATEWAY["hostnames"])
    assert set(there.services) == {"digits"}
    assert there.ready()["reason"] == "GatewayAccepted"


def test_a_service_whose_revisions_replace_each_other_has_a_route_as_well():
    there = Behind(GRPC, rollout={"strategy": "Replace"})
    (first,) = there.revisions()
    assert there.weights() == there.weights(there.grpc_routes) == {"digits": 1}
    assert there.ready()["reason"] == "GatewayAccepted"
    there.edit(maxBatchSize=8)
    there.settle()
    (newest,) = there.revisions()
    assert newest != first
    assert {frozenset(weights) for weights, _ in there.seen} == {frozenset({"digits"})}
    assert set(there.services) == {"digits"}


def test_the_weights_are_the_steps_shares_and_the_pods_need_not_follow():
    there, first, newest = begun()
    begins = next(weights for weights, _ in there.seen if newest in weights)
    assert begins == {first: 100, newest: 0}, "nothing before its pods serve"
    assert there.weights() == {first: 80, newest: 20}
    assert there.revisions() == {first: 4, newest: 1}
    assert there.canary["actualPercent"] == 20
    assert there.status["components"]["predictor"]["traffic"][1]["percent"] == 20
    assert there.services[f"digits-{newest}"]["spec"]["selector"]["slipway.dev/revision"] == newest
    there.traffic(61)
    there.settle()
    assert there.weights() == {first: 25, newest: 75}
    assert there.revisions() == {first: 4, newest: 3}, "what serves stays whole until the end"
    there.traffic(61)
    there.settle()
    assert there.weights() == {"digits": 1}
    assert there.revisions() == {newest: 4}
    assert set(there.services) == {"digits"}
    shares = [weights[newest] for weights, _ in there.seen if newest in weights]
    assert shares == sorted(shares)
    assert set(shares) == {0, 20, 75}


def test_the_next_share_waits_for_its_pods():
    there, first, newest = begun()
    there.unready = {newest: ""}
    there.traffic(61)
    there.settle()
    assert there.canary["step"] == 1
    assert there.weights() == {first: 80, newest: 20}


def test_a_worse_one_loses_its_share_before_its_pods_go():
    there, first, newest = begun()
    there.traffic(61, errors=500)
    there.settle()
    assert there.canary["phase"] == "RolledBack"
    assert there.weights() == {"digits": 1}
    assert there.revisions() == {first: 4}
    last = max(place for place, (_, names) in enumerate(there.seen) if f"digits-{newest}" in names)
    gone = last + 1
    assert there.seen[gone - 1][0] == {first: 100, newest: 0}


@pytest.mark.parametrize("errors", [0, 500])
def test_nobody_is_taken_away_while_a_gateway_goes_by_the_old_route(errors):
    there, first, newest = begun()
    if not errors:
        there.traffic(61)
        there.settle()
    there.prompt = False
    there.traffic(61, errors=errors)
    there.settle()
    assert set(there.revisions()) == {first, newest}
    assert {f"digits-{first}", f"digits-{newest}"} <= set(there.services)
    assert there.ready()["reason"] == "GatewayPending"
    there.accept()
    there.prompt = True
    there.settle()
    assert set(there.revisions()) == {first if errors else newest}


def test_a_gateway_that_refuses_is_quoted():
    there = Behind()
    there.accept("False", "no listener takes routes of this namespace")
    there.settle()
    assert there.ready()["reason"] == "GatewayRefused"
    assert "no listener takes routes" in there.ready()["message"]


def test_grpc_has_a_route_of_its_own_with_the_same_shares_on_its_port():
    there, first, newest = begun(GRPC)
    spec = there.grpc_routes["digits"]["spec"]
    assert (spec["parentRefs"], spec["hostnames"]) == (GATEWAY["parentRefs"], GRPC["hostnames"])
    assert there.weights(there.grpc_routes) == there.weights() == {first: 80, newest: 20}
    (rule,) = spec["rules"]
    for backend in rule["backendRefs"]:
        assert backend["port"] in {port["port"] for port in there.services[backend["name"]]["spec"]["ports"]}
        assert backend["port"] == 9000
    assert there.ready()["message"] == "the gateway has taken in the HTTPRoute and the GRPCRoute"


def test_without_grpc_in_the_spec_there_is_no_grpcroute_and_one_that_was_there_goes():
    there = Behind()
    assert not there.grpc_routes
    there, first, newest = begun(GRPC)
    there.gateway = GATEWAY
    there.settle()
    assert not there.grpc_routes
    assert there.weights() == {first: 80, newest: 20}


@pytest.mark.parametrize("late", ["routes", "grpc_routes"])
def test_the_route_that_a_gateway_takes_in_last_is_waited_for(late):
    there, first, newest = begun(GRPC)
    there.traffic(61)
    there.settle()
    there.prompt = False
    there.traffic(61)
    there.settle()
    prompt = there.grpc_routes if late == "routes" else there.routes
    there.accept(routes=prompt)
    there.settle()
    assert set(there.revisions()) == {first, newest}
    assert {f"digits-{first}", f"digits-{newest}"} <= set(there.services)
    assert there.ready()["reason"] == "GatewayPending"
    there.accept(routes=getattr(there, late))
    there.settle()
    assert set(there.revisions()) == {newest}


def test_a_gateway_that_refuses_the_grpcroute_is_quoted():
    there = Behind(GRPC)
    there.accept("False", "no listener takes gRPC", there.grpc_routes)
    there.settle()
    assert there.ready()["reason"] == "GatewayRefused"
    assert "the GRPCRoute: NotAllowed: no listener takes gRPC" in there.ready()["message"]


def test_a_cluster_without_grpcroutes_splits_http_and_says_what_is_missing():
    obj = {
        "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 1},
        "spec": {
            "predictor": {"model": {"uri": "pvc://m/a"}},
            "rollout": {"strategy": "Canary", "gateway": {**GATEWAY, "grpc": GRPC}},
        },
    }
    decision = looks.look(obj, platform=replace(ROUTED, grpc_routes=None))
    kinds = [write.manifest["kind"] for write in decision.writes]
    assert "HTTPRoute" in kinds
    assert "GRPCRoute" not in kinds
    mark = conditions.get(decision.status["conditions"], "GatewayReady") or {}
    assert (mark["status"], mark["reason"]) == ("False", "GatewayMissing")
    assert "serves no GRPCRoute" in mark["message"]


def test_without_the_gateway_api_pods_give_the_shares_and_the_status_says_what_to_install():
    obj = {
        "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 1},
        "spec": {
            "predictor": {"model": {"uri": "pvc://m/a"}},
            "rollout": {"strategy": "Canary", "gateway": GATEWAY},
        },
    }
    decision = looks.look(obj)
    assert "HTTPRoute" not in [write.manifest["kind"] for write in decision.writes]
    mark = conditions.get(decision.status["conditions"], "GatewayReady") or {}
    assert (mark["status"], mark["reason"]) == ("False", "GatewayMissing")
    assert "install the Gateway API's CRDs" in mark["message"]


def test_without_a_gateway_in_the_spec_the_route_goes():
    there = Behind()
    obj = {
        "metadata": {"name": "digits", "namespace": "team", "uid": "u", "generation": 2},
        "spec": {"predictor": {"model": {"uri": "pvc://m/a"}}, "replicas": 4},
        "status": there.status,
    }
    beside = {ROUTES[0]: there.routes, SERVICES: there.services}
    decision = looks.look(obj, there.deployments.values(), platform=ROUTED, beside=beside)
    assert [(delete.resource, delete.name) for delete in decision.deletes] == [(ROUTES[0], "digits")]
    assert not conditions.get(decision.status["conditions"], "GatewayReady")
