"""HTTPRoutes and GRPCRoutes on the stage: as much of them as the operator writes, and a gateway that a test plays."""

from __future__ import annotations

from typing import Any

from tests.api.inferenceservice.services import Town
from tests.api.stage import Stage
from tests.api.watching import watch
from tests.cluster.rest import Client

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"
GRPC_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/grpcroutes"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_GROUP = "gateway.networking.k8s.io"
_NAME = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
_BACKEND = {
    **_NAME,
    "properties": {
        "name": {"type": "string"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "weight": {"type": "integer", "minimum": 0, "maximum": 1000000, "default": 1},
    },
}
_PARENT = {
    **_NAME,
    "properties": {key: {"type": "string"} for key in ("name", "namespace", "sectionName")},
}
_RULE = {"type": "object", "properties": {"backendRefs": {"type": "array", "items": _BACKEND}}}
_SPEC = {
    "type": "object",
    "properties": {
        "parentRefs": {"type": "array", "items": _PARENT},
        "hostnames": {"type": "array", "items": {"type": "string"}},
        "rules": {"type": "array", "items": _RULE},
    },
}


def install_routes(client: Client) -> None:
    """Serve both kinds, of which the operator writes the same fields; returns once they are."""
    for kind in ("HTTPRoute", "GRPCRoute"):
        _install(client, kind)


def remove_routes(stage: Stage) -> None:
    """Serve neither any more: an operator that finds them works with them."""
    stage.remove(*(f"{_CRDS}/{plural}.{_GROUP}" for plural in ("httproutes", "grpcroutes")))


def _install(client: Client, kind: str) -> None:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC, "status": anything}}},
    }
    plural = f"{kind.lower()}s"
    name = f"{plural}.{_GROUP}"
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Groups of k8s.io ask who has agreed to it.
        "metadata": {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}},
        "spec": {
            "group": _GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }
    client.apply(_CRDS, body)

    def established(all_: dict[str, Any]) -> bool:
        marks = ((all_.get(name) or {}).get("status") or {}).get("conditions") or []
        return any(mark["type"] == "Established" and mark["status"] == "True" for mark in marks)

    watch(client, _CRDS, established)


def weights(route: dict[str, Any]) -> dict[str, int]:
    """By backend."""
    (rule,) = route["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def accept(town: Town, name: str, routes: str = ROUTES) -> None:
    """As a gateway does when it goes by the route as it is now."""
    route = town.get(routes, name)
    mark = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "observedGeneration": route["metadata"]["generation"],
        "lastTransitionTime": "2026-11-22T12:00:00Z",
    }
    status = {"parents": [{"parentRef": {"name": "public"}, "controllerName": "example.com/g", "conditions": [mark]}]}
    town.client.patch(f"{town.path(routes, name)}/status", {"status": status})


def until_weights(
    town: Town, name: str, wanted: dict[str, int], seconds: float = 60, routes: str = ROUTES
) -> dict[str, Any]:
    """Wait until the route leads there."""
    return town.stage.until_object(town.path(routes), name, lambda route: weights(route) == wanted, seconds)
