"""Renders an installation: the objects of manifests/base, moved to a namespace and a registry. Pure.

`slipway install` prints what it returns; the Helm chart's templates are made from the same, with Helm's expressions in
the place of names (chart.py).
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway import __version__
from slipway.images import NAMES, UNSET, reference

Object = dict[str, Any]
ACCOUNT = "slipway-operator"
NAMESPACE = "slipway-system"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# A host is told from a user of Docker Hub as container runtimes do it: by a dot, a port, or the name localhost.
REGISTRY = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z0-9-]+(?=:))(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WITHOUT_NAMESPACE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
# A RoleBinding gives no right to these.
OF_THE_CLUSTER = {
    "certificatesigningrequests",
    "clustertrainingruntimes",
    "customresourcedefinitions",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "priorityclasses",
    "selfsubjectaccessreviews",
    "storageclasses",
    "subjectaccessreviews",
    "tokenreviews",
}


class SettingsError(ValueError):
    """Setting that makes no sense; the text says what to change."""


@dataclass(frozen=True)
class Settings:
    """Settings of an installation: where it is, where its images come from, and where it works.

    `digests`: by an image's name, in the tag's place. `watch`: empty means every namespace. `suffix` ends the names of
    what has no namespace where `watch` is not empty: so several such installations fit into one cluster.
    """

    namespace: str = NAMESPACE
    registry: str = UNSET
    tag: str = __version__
    digests: Mapping[str, str] = field(default_factory=dict)
    watch: tuple[str, ...] = ()
    high_availability: bool = False

    @property
    def suffix(self) -> str:
        """Suffix of cluster-scoped names."""
        return f"-{self.namespace}" if self.watch else ""

    def image(self, name: str) -> str:
        """An image's reference."""
        return reference(name, self.registry, self.digests.get(name) or self.tag)

    def check(self) -> None:
        """Check the settings. Raises SettingsError."""
        if not REGISTRY.fullmatch(self.registry):
            raise SettingsError(
                f"registry {self.registry!r}: HOST[:PORT][/PATH] is needed, such as registry.example.com/slipway; "
                "a name without a host would mean somebody's at Docker Hub"
            )
        for name in (self.namespace, *self.watch):
            if not _LABEL.fullmatch(name):
                raise SettingsError(f"{name!r} is no name of a namespace")
        if not _TAG.fullmatch(self.tag):
            raise SettingsError(f"tag {self.tag!r} is no tag of an image")
        for name, digest in self.digests.items():
            if name not in NAMES or not _DIGEST.fullmatch(digest):
                raise SettingsError(f"digest {name}={digest}: one of {', '.join(NAMES)} and sha256:... are needed")


def render(base: Sequence[Object], additions: Sequence[Object], settings: Settings) -> list[Object]:
    """All objects but the CRDs. `additions` are used with high availability: patches, and what is new."""
    objects = copy.deepcopy(list(base))
    if settings.high_availability:
        objects = _merged(objects, additions)
    if settings.watch:
        objects = _bound(objects, settings)
    for obj in objects:
        _move(obj, settings)
        if obj["kind"] == "Deployment":
            _set_images(obj, settings)
    return objects


def _merged(objects: list[Object], additions: Sequence[Object]) -> list[Object]:
    known = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    for addition in copy.deepcopy(list(additions)):
        there = known.get((addition["kind"], addition["metadata"]["name"]))
        if there is None:
            objects.append(addition)
        else:
            _merge(there, addition)
    return objects


def _merge(into: Object, patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _bound(objects: list[Object], settings: Settings) -> list[Object]:
    """The operator's rights in the watched namespaces only, and those to what has no namespace."""
    roles = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "ClusterRole"}
    bound: list[Object] = []
    for obj in objects:
        if obj["kind"] == "ClusterRoleBinding":
            bound += _split(obj, roles[obj["roleRef"]["name"]], settings)
    replaced = bound_roles(objects)
    kept = [obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) not in replaced]
    for obj in kept:
        if obj["kind"] == "ClusterRole":
            obj["metadata"]["name"] += settings.suffix
    return kept + bound


def bound_roles(objects: Sequence[Object]) -> set[tuple[str, str]]:
    """Kind and name of the operator's bindings in the whole cluster, and of the roles that they give."""
    bindings = [obj for obj in objects if obj["kind"] == "ClusterRoleBinding"]
    roles = {("ClusterRole", obj["roleRef"]["name"]) for obj in bindings}
    return roles | {("ClusterRoleBinding", obj["metadata"]["name"]) for obj in bindings}


def _split(binding: Object, role: Object, settings: Settings) -> list[Object]:
    name, made = f"{role['metadata']['name']}{settings.suffix}", []
    if inside := [part for rule in role["rules"] if (part := _part(rule, of_the_cluster=False))]:
        made.append(_named(role, name, rules=inside))
        for namespace in settings.watch:
            # With the suffix: of two operators that watch one namespace neither loses its rights with the other.
            given = _named(binding, name, kind="RoleBinding", roleRef=_role(name))
            given["metadata"]["namespace"] = namespace
            made.append(given)
    if outside := [part for rule in role["rules"] if (part := _part(rule, of_the_cluster=True))]:
        name = f"{role['metadata']['name'].removesuffix('-cluster')}-cluster{settings.suffix}"
        made += [_named(role, name, rules=outside), _named(binding, name, roleRef=_role(name))]
    return made


def _part(rule: Object, *, of_the_cluster: bool) -> Object | None:
    if "nonResourceURLs" in rule:
        return rule if of_the_cluster else None
    resources = [name for name in rule["resources"] if (name.partition("/")[0] in OF_THE_CLUSTER) == of_the_cluster]
    return {**rule, "resources": resources} if resources else None


def _role(name: str) -> Object:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}


def _named(obj: Object, name: str, **fields: Any) -> Object:
    made = copy.deepcopy(obj) | fields
    made["metadata"] = {**made["metadata"], "name": name}
    return made


def _move(obj: Object, settings: Settings) -> None:
    metadata = obj["metadata"]
    if obj["kind"] == "Namespace":
        metadata["name"] = settings.namespace
    elif obj["kind"] not in _WITHOUT_NAMESPACE and metadata.get("namespace", NAMESPACE) == NAMESPACE:
        metadata["namespace"] = settings.namespace
    for subject in obj.get("subjects", []):
        if (subject["name"], subject.get("namespace")) == (ACCOUNT, NAMESPACE):
            subject["namespace"] = settings.namespace


def _set_images(deployment: Object, settings: Settings) -> None:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = settings.image("operator")
    values = {f"SLIPWAY_{name.upper()}_IMAGE": settings.image(name) for name in NAMES}
    for variable in container["env"]:
        if variable["name"] in values:
            variable["value"] = values[variable["name"]]
    if settings.watch:
        container["env"].append({"name": "SLIPWAY_NAMESPACES", "value": ",".join(settings.watch)})
