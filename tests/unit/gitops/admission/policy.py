"""What a kube-apiserver does with manifests/admission-policy, in Python: match a request, evaluate the CEL expressions.

cel-python evaluates them, with those functions of Kubernetes' CEL library that they use. Called by the tests of the
policies here, and by tests/api/modern, which asks a real server the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel
from celpy.celtypes import ListType, MapType, StringType

from tests.cluster.paths import REPOSITORY

Object = dict[str, Any]
FOLDER = REPOSITORY / "manifests" / "admission-policy"
HOME = "slipway-system"
OPERATOR = f"system:serviceaccount:{HOME}:slipway-operator"
_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
}
# Made once, outside any test: it raises Python's recursion limit, of which hypothesis takes notice.
_ENVIRONMENT = celpy.Environment()


@dataclass(frozen=True)
class Request:
    """What admission sees: `new` is None at DELETE, `old` at CREATE.

    `namespace` and `annotations`: of its namespace, the labels and the annotations. `where`: its name, if the object
    does not say. `parameters`: the data of the ConfigMap instead of those of the folder; False where there is none.
    """

    new: Object | None = None
    old: Object | None = None
    user: str = OPERATOR
    groups: tuple[str, ...] = ("system:authenticated",)
    namespace: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    subresource: str = ""
    connects: bool = False
    parameters: Mapping[str, str] | bool = True

    @property
    def operation(self) -> str:
        """The verb, in admission's words."""
        if self.connects:
            return "CONNECT"
        return "DELETE" if self.new is None else "CREATE" if self.old is None else "UPDATE"

    @property
    def subject(self) -> Object:
        """What it is about."""
        return self.new or self.old or {}

    @property
    def resource(self) -> tuple[str, str, str]:
        """Group, version and plural."""
        group, _, version = self.subject["apiVersion"].rpartition("/")
        return group, version, _PLURALS.get(self.subject["kind"], self.subject["kind"].lower() + "s")

    @property
    def place(self) -> str:
        """The name of its namespace."""
        return self.where or self.subject["metadata"].get("namespace") or "team"


@functools.cache
def documents(kind: str) -> dict[str, Object]:
    """The folder's objects of one kind, by name."""
    found = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    flat = [item for one in found for item in (one["items"] if one["kind"] == "List" else [one])]
    return {one["metadata"]["name"]: one for one in flat if one["kind"] == kind}


_answers: dict[str, list[str]] = {}


def refusals(request: Request) -> list[str]:
    """What the bound policies say against it; an expression that fails is a refusal, as `failurePolicy: Fail` says.

    cel-python takes 40 ms for a pod, and hundreds of tests ask of the same good one: an answer is kept by its question.
    """
    asked = json.dumps([request.__dict__, HOME], sort_keys=True)
    if asked not in _answers:
        _answers[asked] = _refusals(request)
    return list(_answers[asked])


def _refusals(request: Request) -> list[str]:
    bindings = [binding["spec"] for binding in documents("ValidatingAdmissionPolicyBinding").values()]
    given = _given(request)
    said = []
    for binding in bindings:
        policy = documents("ValidatingAdmissionPolicy")[binding["policyName"]]["spec"]
        if _constrained(policy["matchConstraints"], request):
            said += _judged(policy, binding, request, given)
    return said


def _given(request: Request) -> Object:
    group, version, plural = request.resource
    about: Object = {
        "operation": request.operation,
        "namespace": request.place,
        "userInfo": {"username": request.user, "groups": list(request.groups)},
        "resource": {"group": group, "version": version, "resource": plural},
    }
    if request.subresource:
        about["subResource"] = request.subresource
    metadata: Object = {"name": request.place}
    metadata |= {"labels": dict(request.namespace)} if request.namespace else {}
    metadata |= {"annotations": dict(request.annotations)} if request.annotations else {}
    return {
        "object": json_to_cel(request.new),
        "oldObject": json_to_cel(request.old),
        "request": json_to_cel(about),
        "namespaceObject": json_to_cel({"metadata": metadata}),
    }


def _judged(policy: Object, binding: Object, request: Request, given: Object) -> list[str]:
    """Parameters first: a server that lacks them looks at nothing else of the request."""
    known = dict(given)
    if "paramKind" in policy:
        if request.parameters is False:
            assert binding["paramRef"]["parameterNotFoundAction"] == "Deny"
            return ["failed to configure binding: no params found"]
        found = documents(policy["paramKind"]["kind"])[binding["paramRef"]["name"]]
        data = found["data"] if request.parameters is True else dict(request.parameters)
        known["params"] = json_to_cel({**found, "data": data})
    if not all(_evaluate(one["expression"], known) for one in policy.get("matchConditions", [])):
        return []
    return _judge(policy, known)


def _constrained(constraints: Object, request: Request) -> bool:
    selector = constraints.get("objectSelector", {})
    selected = any(_selected(selector, one) for one in (request.new, request.old) if one is not None)
    return selected and any(_applies(rule, request) for rule in constraints["resourceRules"])


def _selected(selector: Object, obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    assert all(one["operator"] == "Exists" for one in selector.get("matchExpressions", []))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        one["key"] in labels for one in selector.get("matchExpressions", [])
    )


def _applies(rule: Object, request: Request) -> bool:
    group, version, plural = request.resource
    name = f"{plural}/{request.subresource}" if request.subresource else plural
    return (
        {group, "*"} & {*rule["apiGroups"]} != set()
        and {version, "*"} & {*rule["apiVersions"]} != set()
        and {name, "*/*"} & {*rule["resources"]} != set()
        and request.operation in rule["operations"]
    )


class _Lazy(MapType):  # type: ignore[misc]
    """Variables as a server has them: evaluated when an expression asks for one, and then once."""

    def __init__(self, expressions: Mapping[str, str], known: Object) -> None:
        super().__init__()
        self._expressions, self._known = expressions, known

    def __getitem__(self, key: Any) -> Any:
        if key not in self:
            self[StringType(key)] = _evaluate(self._expressions[key], self._known)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """As cel-python asks."""
        return self[key] if key in self._expressions else default


def _judge(policy: Object, given: Object) -> list[str]:
    known = dict(given)
    known["variables"] = _Lazy({one["name"]: one["expression"] for one in policy.get("variables", [])}, known)
    return [words for one in policy["validations"] if (words := _words(one, known))]


def _words(validation: Object, known: Object) -> str:
    try:
        return "" if _evaluate(validation["expression"], known) else validation["message"]
    except celpy.CELEvalError as error:
        return f"{validation['message']} (the expression fails: {error})"


def _evaluate(expression: str, activation: Object) -> Any:
    return _program(expression).evaluate(activation)


def _split(text: StringType, separator: StringType) -> ListType:
    return ListType([StringType(part) for part in str(text).split(str(separator))])


def _replace(text: StringType, old: StringType, new: StringType) -> StringType:
    return StringType(str(text).replace(str(old), str(new)))


@functools.cache
def _program(expression: str) -> Any:
    functions = {"split": _split, "replace": _replace}
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(expression), functions=functions)


def cases(objects: list[Object]) -> list[Any]:
    """Parameters of a test; of objects with the same fields one in the short run: pods of a gang differ in numbers."""
    known: set[tuple[str, frozenset[str]]] = set()
    found = []
    for one in objects:
        shape = one["kind"], _fields(one)
        name = f"{one['kind']}-{one['metadata']['name']}"
        found.append(pytest.param(one, id=name, marks=pytest.mark.slow if shape in known else ()))
        known.add(shape)
    return found


def _fields(value: Any, path: str = "") -> frozenset[str]:
    """Where an object has values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return frozenset([path]).union(*(_fields(each, f"{path}.{key}") for key, each in inner))
