"""Definition of a kind for the API server, beside its fields. Each kind fills one in; `crd.py` writes it out."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from slipway.api.common.base import Model, Rule, StatusModel

# Services and pods are named after the object: a DNS label that starts with a letter (RFC 1035).
OBJECT_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


class Column(NamedTuple):
    """One column of `kubectl get`; `priority` 1 shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


class Scale(NamedTuple):
    """JSON paths of the scale subresource: wanted replicas, present replicas, selector of the pods."""

    spec: str
    status: str
    selector: str


@dataclass(frozen=True)
class Kind:
    """A custom resource: names, schema, rules on the whole object, and what `kubectl get` shows."""

    kind: str
    plural: str
    singular: str
    short: str
    description: str
    spec: type[Model]
    # None for what nobody reconciles.
    status: type[StatusModel] | None
    default_status: dict[str, Any]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    scale: Scale | None = None
    name_length: int = 63
    name_pattern: str = OBJECT_NAME
    namespaced: bool = True


def condition_column(name: str, condition: str, field: str, priority: int = 0, description: str = "") -> Column:
    """A column that shows one field of the condition of that type."""
    return Column(name, f'.status.conditions[?(@.type=="{condition}")].{field}', "string", priority, description)


def unseen_status() -> dict[str, Any]:
    """The status of an object that no operator has seen: nothing that waits for health may take it for healthy."""
    condition = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "Pending",
        "message": "The operator has not seen this resource yet",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    return {"observedGeneration": -1, "conditions": [condition]}
