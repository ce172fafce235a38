"""What a kube-apiserver does with an object of ours, in Python: defaults, structural validation, CEL rules.

The schema is the generated CRD's, the structural part is jsonschema's Draft 4 (OpenAPI v3.0 has its boolean
exclusiveMinimum) with Go's regular expressions and Kubernetes' own keywords, and cel-python evaluates the rules.
"""

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

import celpy
import jsonschema
import re2
from celpy.adapter import json_to_cel

from slipway.api.codegen.crd import definition
from slipway.api.common.kind import Kind

Object = dict[str, Any]


_CRDS: dict[str, str] = {}


def schema_of(kind: Kind) -> Object:
    """The whole object's schema, as the CRD's file has it; the caller's own copy."""
    if kind.kind not in _CRDS:
        _CRDS[kind.kind] = json.dumps(definition(kind))
    schema: Object = json.loads(_CRDS[kind.kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def with_defaults(value: Any, schema: Object) -> Any:
    """The value as the server stores it; the argument is left alone."""
    if isinstance(value, dict):
        filled = dict(value)
        for name, child in schema.get("properties", {}).items():
            if name not in filled and "default" in child:
                filled[name] = copy.deepcopy(child["default"])
            if name in filled:
                filled[name] = with_defaults(filled[name], child)
        return filled
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def unknown_fields(value: Any, schema: Object, path: str = "") -> list[str]:
    """Fields that the server would prune, or refuse under strict decoding."""
    found = []
    if isinstance(value, dict) and path != ".metadata":
        children = schema.get("properties", {})
        for name, child in value.items():
            inner = children.get(name, schema.get("additionalProperties"))
            found += [f"{path}.{name}"] if inner is None else unknown_fields(child, inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += unknown_fields(item, schema.get("items", {}), f"{path}[{index}]")
    return found


def _int_or_string(validator: Any, wanted: bool, value: Any, schema: Object) -> Iterator[jsonschema.ValidationError]:
    if wanted and (isinstance(value, bool) or not isinstance(value, int | str)):
        yield jsonschema.ValidationError(f"{value!r} must be of type integer or string")


def _map_keys(validator: Any, keys: list[str], value: Any, schema: Object) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, list):
        found = [tuple(item.get(key) for key in keys) for item in value if isinstance(item, dict)]
        if len(found) != len(set(found)):
            yield jsonschema.ValidationError(f"duplicate {keys}: {found}")


def _pattern(validator: Any, pattern: str, value: Any, schema: Object) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not re2.search(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} should match {pattern!r}")


Structural = jsonschema.validators.extend(
    jsonschema.Draft4Validator,
    {"x-kubernetes-int-or-string": _int_or_string, "x-kubernetes-list-map-keys": _map_keys, "pattern": _pattern},
)


def schema_problems(obj: Object, schema: Object) -> list[str]:
    """What structural validation refuses."""
    return [f"{error.json_path[2:]}: {error.message}" for error in Structural(schema).iter_errors(obj)]


# Made once, outside any test: it raises Python's recursion limit, of which hypothesis takes notice.
_ENVIRONMENT = celpy.Environment()


def _sum(numbers: Any) -> Any:
    """Of Kubernetes' own library of lists, which the language itself does not have."""
    return celpy.celtypes.IntType(sum(numbers))


@functools.cache
def _program(rule: str) -> Any:
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(rule), functions={"sum": _sum})


def holds(rule: str, value: Any, old: Any = None) -> bool:
    """Evaluate one CEL rule; raises celpy.CELEvalError as the server would refuse the object."""
    return _holds(rule, json_to_cel(value), None if old is None else json_to_cel(old))


def _holds(rule: str, value: Any, old: Any) -> bool:
    """`value`, `old`: as CEL's own types."""
    return bool(_program(rule).evaluate({"self": value} if old is None else {"self": value, "oldSelf": old}))


def cel_problems(value: Any, schema: Object, old: Any = None, path: str = "") -> list[str]:
    """What the CEL rules refuse; rules with `oldSelf` count only where there was an old value, as on the server."""
    problems = []
    rules = [rule for rule in schema.get("x-kubernetes-validations", []) if old is not None or not _of_change(rule)]
    # Once for all rules of a value: a whole spec has dozens, and each conversion copies it.
    ours = json_to_cel(value) if rules else None
    before = json_to_cel(old) if any(map(_of_change, rules)) else None
    for entry in rules:
        if not _holds(entry["rule"], ours, before if _of_change(entry) else None):
            problems.append(f"{path}: {entry['message']}")
    if isinstance(value, dict):
        former = old if isinstance(old, dict) else {}
        children = schema.get("properties", {})
        for name, child in value.items():
            if inner := children.get(name, schema.get("additionalProperties")):
                problems += cel_problems(child, inner, former.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            problems += cel_problems(item, schema.get("items", {}), None, f"{path}[{index}]")
    return problems


def _of_change(entry: Object) -> bool:
    """Whether a rule speaks of what was there before."""
    return "oldSelf" in entry["rule"]


class Admission:
    """One kind's admission."""

    def __init__(self, kind: Kind) -> None:
        self.schema = schema_of(kind)

    def structural(self, obj: Object) -> list[str]:
        """Problems that every server finds."""
        return schema_problems(with_defaults(obj, self.schema), self.schema)

    def cel(self, obj: Object, old: Object | None = None) -> list[str]:
        """Problems that servers from 1.25 on find as well."""
        before = None if old is None else with_defaults(old, self.schema)
        return cel_problems(with_defaults(obj, self.schema), self.schema, before)

    def refusals(self, obj: Object, old: Object | None = None) -> list[str]:
        """All of them. CEL sees only what is structurally valid."""
        return self.structural(obj) or self.cel(obj, old)
