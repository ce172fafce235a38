"""Objects as an API server gives them, with what a test is about."""

from __future__ import annotations

from typing import Any


def pod(name: str, uid: str, version: object, *, parent: str = "", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    if parent:
        metadata["ownerReferences"] = [{"uid": "x", "name": "x"}, {"uid": parent, "name": "j", "controller": True}]
    return {"metadata": metadata, **more}
