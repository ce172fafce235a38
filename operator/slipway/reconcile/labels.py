"""The labels and the owner of everything that Slipway makes. Watches select by the labels; people may, too."""

from typing import Any

from slipway.api.common.types import GROUP

MANAGED = f"{GROUP}/managed"
KIND = f"{GROUP}/kind"
JOB_NAME = f"{GROUP}/job-name"
JOB_UID = f"{GROUP}/job-uid"
REPLICA_TYPE = f"{GROUP}/replica-type"
REPLICA_INDEX = f"{GROUP}/replica-index"
ATTEMPT = f"{GROUP}/attempt"
MANAGED_BY = "app.kubernetes.io/managed-by"

MANAGED_SELECTOR = f"{MANAGED}=true"


def owned(kind: str, name: str, uid: str) -> dict[str, str]:
    """Labels of a child of this job."""
    return {MANAGED: "true", MANAGED_BY: "slipway", KIND: kind, JOB_NAME: name, JOB_UID: uid}


def controller(api_version: str, kind: str, name: str, uid: str) -> dict[str, Any]:
    """The owner reference of a child, by which it is found, and cleaned up with its owner."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
