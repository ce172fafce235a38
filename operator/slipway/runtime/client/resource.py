"""Paths of resources on the API server, and owners of objects. Read by everything in runtime.

Secrets can be created only: the operator has no right to read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

Object = dict[str, Any]
"""One Kubernetes object as the JSON of the API. What the cache hands out is shared: read it, never change it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource, e.g. `Resource("apps", "v1", "deployments", "Deployment")`; the core group is ""."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, of one object, or of a subresource; `namespace` None means all of them."""
        parts = [self.root]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        elif self.namespaced and name is not None:
            raise ValueError(f"{self.kind} {name!r} is namespaced, but no namespace was given")
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
PRIORITY_CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
LIMIT_RANGES = Resource("", "v1", "limitranges", "LimitRange")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
# As kubelets write them; those that we write are of the newer group.
POD_EVENTS = Resource("", "v1", "events", "Event")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)


class Identity(NamedTuple):
    """Identity of an object, the same whoever refers to it. `namespace` is "" for cluster-scoped ones.

    A UID alone is nothing: anybody may write anybody's UID into the ownerReferences of his own objects. An owner lives
    in its children's namespace, so the namespace of the object that holds the reference belongs to what it says.
    """

    namespace: str
    group: str
    kind: str
    uid: str


def namespace_of(obj: Mapping[str, Any]) -> str:
    """An object's namespace; "" for cluster-scoped ones."""
    return str(obj["metadata"].get("namespace") or "")


def name_of(obj: Mapping[str, Any]) -> str:
    """An object's name."""
    return str(obj["metadata"]["name"])


def uid_of(obj: Mapping[str, Any]) -> str:
    """An object's UID; "" for a manifest that no server has seen yet."""
    return str(obj["metadata"].get("uid") or "")


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ownerReference marked `controller: true`, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference  # type: ignore[no-any-return]
    return None


def identity_of(obj: Mapping[str, Any], resource: Resource) -> Identity:
    """Identity of an object of this resource; of a manifest that no server has seen yet the UID is ""."""
    return Identity(namespace_of(obj), resource.group, resource.kind, uid_of(obj))


def parent_of(obj: Mapping[str, Any]) -> Identity | None:
    """Identity of the owner that the object names, by its ownerReference marked `controller: true`, or None.

    Versions of a group tell of the same objects, so the version is left out.
    """
    reference = controller_of(obj)
    if reference is None:
        return None
    group, slash, _ = str(reference.get("apiVersion") or "").rpartition("/")
    uid = str(reference.get("uid") or "")
    return Identity(namespace_of(obj), group if slash else "", str(reference.get("kind") or ""), uid) if uid else None
