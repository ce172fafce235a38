"""Pods around one container, as every kind makes them: hardening, identity, place. Pure; for pods.py, manifests.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.common.pod import PodPlace
from slipway.api.common.resources import accelerators

# Where each container finds the rendered object, claims that URIs name, and shared memory.
CONFIG_DIR = "/etc/slipway"
CLAIMS_DIR = "/mnt/pvc"
SHARED_MEMORY_DIR = "/dev/shm"  # noqa: S108
# The one place that can be written without a volume; the home of the users in our images.
SCRATCH_DIR = "/tmp"  # noqa: S108
# Where programs of other images keep what they compile and fetch: PyTorch, Hugging Face, matplotlib and numba go by
# the first two, Triton by a variable of its own.
CACHES = {
    "XDG_CACHE_HOME": f"{SCRATCH_DIR}/.cache",
    "XDG_CONFIG_HOME": f"{SCRATCH_DIR}/.config",
    "TRITON_CACHE_DIR": f"{SCRATCH_DIR}/.cache/triton",
}
# Limit of a volume for which neither the spec nor the container's own limits name one: more than any model's files, so
# that no job ends by a figure that nobody has set. What protects a node is a limit of ephemeral-storage.
LARGEST_VOLUME = "1Ti"
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
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": settings.security(),
        "containers": [dict(container)],
        "volumes": list(volumes),
        **{field: asked[field] for field in OPTIONAL if asked.get(field)},
        **own,
    }
    return _with_scratch(spec) if settings.read_only_root_filesystem else spec


def caches(settings: PodPlace, image: str | None) -> dict[str, str]:
    """Variables of caches for an image of the user's own, whose home cannot be written; ours have theirs in /tmp."""
    return CACHES if image is not None and settings.read_only_root_filesystem else {}


def disk_volume(name: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    """Volume on the node's disk, for a container of these resources."""
    return {"name": name, "emptyDir": {"sizeLimit": _limit(resources, "ephemeral-storage")}}


def memory_volume(name: str, resources: Mapping[str, Any], size_limit: object | None) -> dict[str, Any]:
    """Volume in the node's memory, which counts as the memory of a container of these resources."""
    limit = size_limit if size_limit is not None else _limit(resources, "memory")
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}}


def _limit(resources: Mapping[str, Any], name: str) -> object:
    return (resources.get("limits") or {}).get(name, LARGEST_VOLUME)


def _with_scratch(spec: dict[str, Any]) -> dict[str, Any]:
    """The pod with a writable /tmp for each of its containers, where the user has mounted none.

    Each has its own: they are of different users and programs. It may hold what the container's limit of
    ephemeral-storage allows, which counts it, as it counted the writable layer.
    """
    containers = [dict(one) for one in spec["containers"]]
    first = [dict(one) for one in spec.get("initContainers") or []]
    volumes = list(spec["volumes"])
    for index, one in enumerate((*containers, *first)):
        mounts = list(one.get("volumeMounts") or [])
        if any(mount["mountPath"].rstrip("/") == SCRATCH_DIR for mount in mounts):
            continue
        name = f"slipway-tmp-{index}" if index else "slipway-tmp"
        one["volumeMounts"] = [*mounts, {"name": name, "mountPath": SCRATCH_DIR}]
        volumes.append(disk_volume(name, one.get("resources") or {}))
    return {**spec, "containers": containers, "volumes": volumes, **({"initContainers": first} if first else {})}


def restrict(*, read_only: bool = True) -> dict[str, Any]:
    """securityContext of a container that asks for nothing beyond what Pod Security's `restricted` gives."""
    return PodPlace(read_only_root_filesystem=read_only).contained()


def pod_metadata(metadata: Mapping[str, Any], settings: PodPlace, marks: Mapping[str, str]) -> dict[str, Any]:
    """`metadata` with the user's labels and annotations; `marks`, our own labels of this pod, have the last word."""
    labels = {**settings.labels, **metadata["labels"], **marks}
    annotations = {"annotations": dict(settings.annotations)} if settings.annotations else {}
    return {**metadata, "labels": labels, **annotations}


def for_pod(image: str, gpu_image: str, asked: Mapping[str, object]) -> str:
    """The image of a pod that asks for these resources: `gpu_image`, where there is one, beside an accelerator."""
    return gpu_image if gpu_image and accelerators(asked) else image
