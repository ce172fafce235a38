"""Kubernetes' API conventions, asserted on every node of every generated schema."""

import re
from collections.abc import Iterator
from typing import Any

import celpy
import pytest
import re2

from slipway.api.codegen.crd import KINDS
from tests.unit.api.admission import cel_problems, schema_of, schema_problems, with_defaults

NEVER = {
    "$ref", "allOf", "anyOf", "oneOf", "not", "nullable", "title", "patternProperties", "propertyNames", "uniqueItems",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
}  # fmt: skip
LIMITS = {"int32": 2**31 - 1, "int64": 2**63 - 1}
SERVER_OWNED = {"apiVersion", "kind", "metadata"}


def faults(node: dict[str, Any], path: str, described: bool = True) -> Iterator[str]:
    """What a reviewer of the API would object to, under `path`."""
    yield from (f"{path}: {word}" for word in NEVER & node.keys())
    if described and not node.get("description"):
        yield f"{path}: no description"
    if "default" in node:
        yield from default_faults(node, path)
    kind = "int-or-string" if node.get("x-kubernetes-int-or-string") else node.get("type")
    yield from (f"{path}: {problem}" for problem in KIND_FAULTS[kind](node))
    for name, child in node.get("properties", {}).items():
        if not re.fullmatch("[a-z][a-zA-Z0-9]*", name):
            yield f"{path}.{name}: not camelCase"
        yield from faults(child, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(node.get(part), dict):
            yield from faults(node[part], f"{path}[]", described=node[part].get("type") == "object")


def default_faults(node: dict[str, Any], path: str) -> Iterator[str]:
    """A default must be worth its place and pass the very schema it stands in."""
    if node["default"] is None or node["default"] in ("", []):
        yield f"{path}: a default that says nothing"
    for problem in schema_problems(with_defaults(node["default"], node), node):
        yield f"{path}: default {problem}"
    # The server evaluates the rules on the default as it stands, before nested defaults fill in.
    try:
        yield from (f"{path}: default {problem}" for problem in cel_problems(node["default"], node))
    except celpy.CELEvalError as error:
        yield f"{path}: default {error}"


def string_faults(node: dict[str, Any]) -> Iterator[str]:
    if "maxLength" not in node and "enum" not in node:
        yield "unbounded string"
    if "pattern" in node:
        re2.compile(node["pattern"])
        if not node["pattern"].startswith("^"):
            yield "pattern without anchor"


def integer_faults(node: dict[str, Any]) -> Iterator[str]:
    if "minimum" not in node or "maximum" not in node:
        yield "unbounded integer"
    elif max(-node["minimum"] - 1, node["maximum"]) > LIMITS.get(node.get("format", ""), -1):
        yield "bounds and format disagree"


def number_faults(node: dict[str, Any]) -> Iterator[str]:
    if "minimum" not in node or "maximum" not in node:
        yield "unbounded number"
    if any(
        isinstance(node.get(word), float | int) and not isinstance(node.get(word), bool)
        for word in ("exclusiveMinimum", "exclusiveMaximum")
    ):
        yield "exclusive bounds are booleans in OpenAPI v3.0"


def array_faults(node: dict[str, Any]) -> Iterator[str]:
    if "maxItems" not in node:
        yield "unbounded list"
    if node.get("x-kubernetes-list-type") not in {"atomic", "set", "map"}:
        yield "list without a list type"
    for key in node.get("x-kubernetes-list-map-keys", []):
        if key not in node["items"].get("required", []):
            yield f"list-map key {key} is not required"


def object_faults(node: dict[str, Any]) -> Iterator[str]:
    is_map = isinstance(node.get("additionalProperties"), dict)
    if is_map == ("properties" in node):
        yield "neither a map nor an object with fields, or both"
    if is_map and "maxProperties" not in node:
        yield "unbounded map"
    for name in node.get("required", []):
        if "default" in node["properties"][name]:
            yield f"{name} is required and has a default"


def int_or_string_faults(node: dict[str, Any]) -> Iterator[str]:
    if "minimum" not in node or "maxLength" not in node or "pattern" not in node:
        yield "unbounded int-or-string"
    if "type" in node:
        yield "int-or-string with a type"


KIND_FAULTS = {
    "string": string_faults,
    "integer": integer_faults,
    "number": number_faults,
    "boolean": lambda node: iter(()),
    "array": array_faults,
    "object": object_faults,
    "int-or-string": int_or_string_faults,
}


@pytest.mark.parametrize("part", ["spec", "status"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_schema_keeps_the_conventions(kind, part):
    assert list(faults(schema_of(kind)["properties"][part], part)) == []


BAD = [
    ({"type": "string"}, "unbounded string"),
    ({"type": "integer", "minimum": 0}, "unbounded integer"),
    ({"type": "integer", "minimum": 0, "maximum": 2**40, "format": "int32"}, "bounds and format disagree"),
    ({"type": "number", "minimum": 0, "maximum": 1, "exclusiveMinimum": 0}, "booleans"),
    ({"type": "array", "maxItems": 3, "items": {"type": "boolean"}}, "without a list type"),
    ({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "boolean"}}, "unbounded list"),
    ({"type": "object", "additionalProperties": {"type": "boolean"}}, "unbounded map"),
    ({"type": "object"}, "neither a map"),
    ({"type": "boolean", "nullable": True}, "nullable"),
    ({"type": "integer", "minimum": 1, "maximum": 2, "format": "int32", "default": 3}, "default"),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "string", "maxLength": 1, "default": "x"}},
            "default": {},
            "x-kubernetes-validations": [{"rule": "self.a == 'x'", "message": "a is x"}],
        },
        "no such member",
    ),
    ({"type": "object", "properties": {"Name": {"type": "boolean"}}}, "not camelCase"),
]


@pytest.mark.parametrize(("node", "words"), BAD, ids=[words for _, words in BAD])
def test_the_walk_finds_a_fault(node, words):
    assert any(words in fault for fault in faults(node | {"description": "x"}, "x"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_conditions_come_first_and_are_a_map_by_type(kind):
    properties = schema_of(kind)["properties"]["status"]["properties"]
    conditions = properties["conditions"]
    assert next(iter(properties)) == "conditions"
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    assert set(conditions["items"]["required"]) == {"type", "status", "reason", "lastTransitionTime"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_new_object_does_not_look_healthy(kind):
    stored = with_defaults({"spec": {}}, schema_of(kind))["status"]
    assert stored["observedGeneration"] == -1
    assert [(c["type"], c["status"]) for c in stored["conditions"]] == [("Ready", "Unknown")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_root_bounds_the_name_and_leaves_the_rest_to_the_server(kind):
    schema = schema_of(kind)
    assert set(schema["properties"]) == SERVER_OWNED | {"spec", "status"}
    assert schema["properties"]["metadata"]["properties"]["name"]["maxLength"] <= 63
    assert schema["required"] == ["spec"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_what_rules_walk_is_bounded_and_messages_are_short(kind):
    def rules(node):
        yield from node.get("x-kubernetes-validations", [])
        for child in [*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")]:
            if isinstance(child, dict):
                yield from rules(child)

    found = list(rules(schema_of(kind)))
    assert found
    for rule in found:
        assert 20 < len(rule["message"]) < 256, rule
        assert "\n" not in rule["rule"] + rule["message"]
