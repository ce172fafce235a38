"""Pydantic models -> the structural OpenAPI v3.0 schema that a CustomResourceDefinition accepts. Called by `crd.py`.

What the API server refuses of pydantic's own JSON schema, and what stands here instead:
`$ref` -> the definition itself; `anyOf: [X, null]` -> X (absent is None); `additionalProperties: false` -> nothing
(unknown fields are pruned, or refused by kubectl's strict decoding); `const` -> `enum`; numeric `exclusiveMinimum` ->
v3.0's boolean; `propertyNames`, `patternProperties` -> values only (CEL checks keys); `default: null` -> nothing.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from slipway.api.common.base import Model, Rule

Schema = dict[str, Any]

INT32_MAX = 2**31 - 1
DROPPED = frozenset({"title", "$defs", "propertyNames", "examples"})


def validations(rules: tuple[Rule, ...]) -> list[dict[str, str]]:
    """CEL rules as the CRD spells them."""
    return [{"rule": rule.rule, "message": rule.message} for rule in rules if rule.rule is not None]


class _Structural(GenerateJsonSchema):
    """Pydantic's generator, with nulls folded, nested defaults that fill in, and the models' CEL rules."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A nested model's default is `{}`, which the server fills from the nested defaults.

        Its rules are checked before that, so a model with rules gets its defaults written out. An empty list, map or
        string has none: it says no more than an absent field.
        """
        inner = self.generate_inner(schema["schema"])
        factory: Any = schema.get("default_factory")
        value = factory() if factory is not None else schema.get("default")
        if isinstance(value, BaseModel):
            value = _written_out(value) if getattr(value, "cel", ()) else {}
        elif value is None or value in ([], {}, ""):
            return inner
        default = {"default": self.encode_default(value)}
        return {"allOf": [inner], **default} if "$ref" in inner else {**inner, **default}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, Model) and (rules := validations(model.cel)):
            result["x-kubernetes-validations"] = rules
        return result


def _written_out(model: BaseModel) -> Schema:
    """JSON of a model's fields that are neither unset nor empty, with the API's names, nested models included."""
    wire = model.model_dump(mode="json", by_alias=True)
    result = {}
    for name, field in type(model).model_fields.items():
        key, value = field.alias or name, getattr(model, name)
        if isinstance(value, BaseModel):
            result[key] = _written_out(value)
        elif value not in (None, [], {}, ""):
            result[key] = wire[key]
    return result


def structural(model: type[BaseModel]) -> Schema:
    """The model's schema with everything inlined; raises ValueError for what no structural schema can say."""
    raw = model.model_json_schema(schema_generator=_Structural)
    return _convert(raw, raw.get("$defs", {}))


def _convert(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _inlined(node, definitions)
    for impossible in ("anyOf", "oneOf", "allOf", "prefixItems", "uniqueItems"):
        if impossible in node:
            raise ValueError(f"{impossible} is not structural: {node}")
    result = {key: value for key, value in node.items() if key not in DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "properties" in node:
        result["properties"] = {name: _convert(child, definitions) for name, child in node["properties"].items()}
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
        result.setdefault("x-kubernetes-list-type", "atomic")
    values = next(iter(result.pop("patternProperties", {}).values()), result.pop("additionalProperties", None))
    if isinstance(values, dict):
        result["additionalProperties"] = _convert(values, definitions)
    return _number(result)


def _inlined(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follow `$ref`; what stands beside it (a field's description and default) wins over the definition."""
    if len(node.get("allOf", [])) == 1:
        node = {**node["allOf"][0], **{key: value for key, value in node.items() if key != "allOf"}}
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].removeprefix("#/$defs/")]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _number(node: Schema) -> Schema:
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            node[plain], node[exclusive] = node[exclusive], True
    if node.get("type") == "integer":
        node["format"] = "int32" if node.get("maximum", 2**53) <= INT32_MAX else "int64"
    return node
