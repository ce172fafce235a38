"""Weaknesses of a pod of ours: against `restricted`, a root that can be written, an own volume without a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.unit.trainingjob.pods.pod_security import violations

Object = dict[str, Any]
# The beginning of the names of volumes that Slipway makes; the others are the user's.
OURS = "slipway-"


def weaknesses(pod: Object) -> list[str]:
    """One line each, empty for a pod as every kind makes them."""
    return [*violations(pod), *_roots(pod["spec"]), *_limits(pod["spec"])]


def _roots(spec: Object) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        if container["securityContext"].get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']}: its root can be written"
        scratch = [mount["name"] for mount in container.get("volumeMounts", []) if mount["mountPath"] == "/tmp"]
        if [set(volumes[name]) for name in scratch] != [{"name", "emptyDir"}]:
            yield f"{container['name']}: nowhere to write, or at two places: {scratch}"


def _limits(spec: Object) -> Iterator[str]:
    for volume in spec["volumes"]:
        if volume["name"].startswith(OURS) and "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{volume['name']}: no limit"
