"""Objects as an API server gives them, with what a test is about."""

from __future__ import annotations

from typing import Any

from slipway.runtime.client.resource import Identity

OWNER = {"apiVersion": "example.com/v1", "kind": "Job", "name": "j", "controller": True}


def parent(uid: str, namespace: str = "ns") -> Identity:
    """Whose children `pod` makes."""
    return Identity(namespace, "example.com", "Job", uid)


def pod(name: str, uid: str, version: object, *, parent: str = "", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    if parent:
        metadata["ownerReferences"] = [{"uid": "x", "name": "x"}, OWNER | {"uid": parent}]
    return {"metadata": metadata, **more}
