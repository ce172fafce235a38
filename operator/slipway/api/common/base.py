"""Base classes of the API's models: camelCase, rules in CEL and in Python at once, list-maps, problems in words."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Rule(NamedTuple):
    """One rule twice: for servers with CEL (1.25 and later) in the CRD, for all others in the reconcile.

    `rule`: CEL over `self`; None where only Python can say it. `message`: what to change.
    `holds`: the same over the model; None where a field's type says it already (the keys of maps, which structural
    schemas cannot bound), and for a transition rule (`oldSelf`), of which a reconcile knows nothing.
    """

    rule: str | None
    message: str
    holds: Callable[[Any], bool] | None = None


class Model(BaseModel):
    """camelCase on the wire, snake_case in Python; an unknown field is an error and not a silent loss."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)
    cel: ClassVar[tuple[Rule, ...]] = ()

    def wire(self) -> dict[str, Any]:
        """JSON for the API server: camelCase, without unset fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        broken = [rule.message for rule in self.cel if rule.holds is not None and not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self


class StatusModel(Model):
    """A status may come from a newer operator: what is unknown here is kept out of the way and not refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


@dataclass(frozen=True)
class MapBy:
    """Marks a list whose items are known by one field: unique, and merged by it in server-side apply."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook: refuse duplicates."""
        return core_schema.no_info_after_validator_function(self._unique, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Pydantic's hook: Kubernetes' list type."""
        result = handler(schema)
        result["x-kubernetes-list-type"] = "map"
        result["x-kubernetes-list-map-keys"] = [to_camel(self.field)]
        return result

    def _unique(self, items: list[Any]) -> list[Any]:
        keys = [getattr(item, self.field) for item in items]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"{to_camel(self.field)} {', '.join(twice)} appears more than once: remove the duplicates")
        return items


_WORDS = {
    "extra_forbidden": "unknown field: correct its name or remove it",
    "missing": "required: set it",
}


def problems_of(error: ValidationError) -> list[str]:
    """Every problem of a spec as a person reads it."""
    return [problem_text(found["loc"], _WORDS.get(found["type"], found["msg"])) for found in error.errors()]


def problem_text(location: tuple[int | str, ...], message: str) -> str:
    """One problem with its path: `spec.numNodes: Input should be greater than or equal to 1`."""
    path = "spec"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else "" if part == "[key]" else f".{part}"
    return f"{path}: {re.sub(r'^Value error, ', '', message)}"
