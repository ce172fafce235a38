"""What of an object is worth keeping in memory? Passed to `Cache.add`; applied to every event and every listed object.

A whole pod as Python objects takes 15 kB, a thousand jobs of four pods 60 MB. Each function gives a new object, leaves
its argument alone, and changes nothing when applied again.
"""

from __future__ import annotations

from collections.abc import Callable

from .resource import Object

Slim = Callable[[Object], Object]

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def slim(obj: Object) -> Object:
    """Without what only servers and kubectl read: managedFields and the last-applied annotation."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _APPLIED in annotations:
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != _APPLIED}
    return obj | {"metadata": metadata}


def slim_link(obj: Object) -> Object:
    """Only who it is and whose: of what stands between an owner and its owner's owner."""
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
    return {"metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]}}


def slim_pod(pod: Object) -> Object:
    """Also without the pod's spec, all but the node: a pod's spec never changes, and we have rendered it ourselves."""
    node = (pod.get("spec") or {}).get("nodeName")
    return slim(pod) | {"spec": {"nodeName": node} if node else {}}
