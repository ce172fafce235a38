"""What Flux and `kubectl wait`-like tools make of a resource: kstatus' published rules for custom resources.

After sigs.k8s.io/cli-utils, pkg/kstatus/README.md: deletion first,
then a stale observedGeneration, then the abnormal-true conditions, then Ready; whatever says nothing is Current.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TERMINATING, IN_PROGRESS, FAILED, CURRENT = "Terminating", "InProgress", "Failed", "Current"


def kstatus(obj: Mapping[str, Any]) -> str:
    """Terminating, InProgress, Failed or Current."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return IN_PROGRESS
    marks = {mark["type"]: mark["status"] for mark in status.get("conditions") or []}
    if marks.get("Reconciling") == "True":
        return IN_PROGRESS
    if marks.get("Stalled") == "True":
        return FAILED
    if "Ready" in marks and marks["Ready"] != "True":
        return IN_PROGRESS
    return CURRENT
