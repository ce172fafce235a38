"""What a kube-apiserver does with manifests/admission-policy, in Python: match a request, evaluate the CEL expressions.

cel-python evaluates them. Called by test_admission_policy.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import celpy
import yaml
from celpy.adapter import json_to_cel
from celpy.celtypes import MapType, StringType

from tests.cluster.paths import REPOSITORY

Object = dict[str, Any]
FOLDER = REPOSITORY / "manifests" / "admission-policy"
OPERATOR = "system:serviceaccount:slipway-system:slipway-operator"
_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
}
# Made once, outside any test: it raises Python's recursion limit, of which hypothesis takes notice.
_ENVIRONMENT = celpy.Environment()


@dataclass(frozen=True)
class Request:
    """What admission sees: `new` is None at DELETE, `old` at CREATE. `namespace`: the labels of its namespace."""

    new: Object | None = None
    old: Object | None = None
    user: str = OPERATOR
    namespace: Mapping[str, str] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        """The verb, in admission's words."""
        return "DELETE" if self.new is None else "CREATE" if self.old is None else "UPDATE"


@functools.cache
def documents(kind: str) -> dict[str, Object]:
    """The folder's objects of one kind, by name."""
    found = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def refusals(request: Request) -> list[str]:
    """What the bound policies say against it. Raises celpy.CELEvalError, which a server takes for a refusal."""
    names = [binding["spec"]["policyName"] for binding in documents("ValidatingAdmissionPolicyBinding").values()]
    policies = [documents("ValidatingAdmissionPolicy")[name]["spec"] for name in names]
    given = {
        "object": json_to_cel(request.new),
        "oldObject": json_to_cel(request.old),
        "request": json_to_cel({"operation": request.operation, "userInfo": {"username": request.user}}),
        "namespaceObject": json_to_cel({"metadata": {"labels": dict(request.namespace)}}),
    }
    concerned = [policy for policy in policies if _matches(policy, request, given)]
    return [words for policy in concerned for words in _judge(policy, given)]


def _matches(policy: Object, request: Request, given: Object) -> bool:
    if not any(_applies(rule, request) for rule in policy["matchConstraints"]["resourceRules"]):
        return False
    return all(_evaluate(one["expression"], given) for one in policy.get("matchConditions", []))


def _applies(rule: Object, request: Request) -> bool:
    subject = request.new or request.old or {}
    group, _, version = subject["apiVersion"].rpartition("/")
    plural = _PLURALS.get(subject["kind"], subject["kind"].lower() + "s")
    return (
        group in rule["apiGroups"]
        and version in rule["apiVersions"]
        and plural in rule["resources"]
        and request.operation in rule["operations"]
    )


def _judge(policy: Object, given: Object) -> list[str]:
    variables = MapType({})
    known = {**given, "variables": variables}
    for variable in policy.get("variables", []):
        variables[StringType(variable["name"])] = _evaluate(variable["expression"], known)
    return [one["message"] for one in policy["validations"] if not _evaluate(one["expression"], known)]


def _evaluate(expression: str, activation: Object) -> Any:
    return _program(expression).evaluate(activation)


@functools.cache
def _program(expression: str) -> Any:
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(expression))
