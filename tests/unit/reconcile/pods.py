"""Pods as the API server gives them, in every state that matters to a gang."""

from __future__ import annotations

from typing import Any

NOW = "2026-11-01T12:00:00Z"


def pod(name: str = "p", index: int = 0, attempt: int = 0, node: str = "n", **status: Any) -> dict[str, Any]:
    labels = {"slipway.dev/replica-index": str(index), "slipway.dev/attempt": str(attempt)}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": "Running", **status},
    }


def ended(code: int, reason: str = "Error", finished: str = NOW, **more: Any) -> dict[str, Any]:
    """The status of a pod whose container has ended."""
    terminated = {"exitCode": code, "reason": reason, "finishedAt": finished, **more}
    return {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [{"name": "trainer", "state": {"terminated": terminated}}],
    }


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def running(ready: bool = True) -> dict[str, Any]:
    return {
        "phase": "Running",
        "conditions": [condition("Ready", "True" if ready else "False")],
        "containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": NOW}}}],
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {
        "phase": "Pending",
        "containerStatuses": [{"name": "trainer", "state": {"waiting": {"reason": reason, "message": message}}}],
    }


def deleted(body: dict[str, Any], at: str = NOW, grace: int = 30) -> dict[str, Any]:
    metadata = body["metadata"] | {"deletionTimestamp": at, "deletionGracePeriodSeconds": grace}
    return body | {"metadata": metadata}
