"""Pods around one container, as every kind makes them: hardening, identity, place. Pure; for pods.py, manifests.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.common.pod import PodPlace

# Where each container finds the rendered object, claims that URIs name, and shared memory.
CONFIG_DIR = "/etc/slipway"
CLAIMS_DIR = "/mnt/pvc"
SHARED_MEMORY_DIR = "/dev/shm"  # noqa: S108
# Fields that a pod has only where the user sets them, by their names on the wire.
OPTIONAL = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "imagePullSecrets",
    "serviceAccountName",
    "priorityClassName",
    "schedulerName",
    "runtimeClassName",
)


def pod_spec(
    settings: PodPlace, container: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]], **own: Any
) -> dict[str, Any]:
    """`spec` of a pod. `own`: what the kind says itself, whatever the settings say of it."""
    asked = settings.wire()
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": settings.security(),
        "containers": [dict(container)],
        "volumes": list(volumes),
        **{field: asked[field] for field in OPTIONAL if asked.get(field)},
        **own,
    }


def pod_metadata(metadata: Mapping[str, Any], settings: PodPlace, marks: Mapping[str, str]) -> dict[str, Any]:
    """`metadata` with the user's labels and annotations; `marks`, our own labels of this pod, have the last word."""
    labels = {**settings.labels, **metadata["labels"], **marks}
    annotations = {"annotations": dict(settings.annotations)} if settings.annotations else {}
    return {**metadata, "labels": labels, **annotations}
