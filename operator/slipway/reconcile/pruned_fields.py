"""Fields that the API server has dropped: those that a client applied and no schema knows. Pure.

`kubectl apply` leaves what it applied in an annotation; a server that prunes unknown fields says nothing of it to a
client that does not ask for validation, and `lerningRate: 0.1` trains with the default. Other clients leave no trace.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from slipway.runtime.client.resource import Object
from slipway.runtime.client.transform import Slim, slim

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Of a slim object: paths of the fields, only where there are some.
PRUNED = "pruned"
MOST, LONGEST = 8, 256
# Values looked at: far more than a spec has.
MOST_STEPS = 10_000


def keeping(schema: Mapping[str, Any]) -> Slim:
    """A slim for objects of this schema that also tells which fields were dropped."""

    def kept(obj: Object) -> Object:
        # Applied again, it says the same.
        found = obj[PRUNED] if PRUNED in obj else paths(obj, schema)
        return {**slim(obj), PRUNED: found} if found else slim(obj)

    return kept


def paths(obj: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Paths of fields that were dropped, at most MOST of them, as `spec.recipe.lerningRate`."""
    text = (obj["metadata"].get("annotations") or {}).get(APPLIED)
    try:
        applied = orjson.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return []
    if not isinstance(applied, dict):
        return []
    # The server knows of metadata itself, and a status is the operator's.
    wanted = {name: value for name, value in applied.items() if name not in {"metadata", "status"}}
    return [_clean(path) for path in islice(_unknown(wanted, schema), MOST)]


def _unknown(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Fields that the schema does not know, as paths, breadth first.

    What is wrong near the top is told first, and a document without end ends after MOST_STEPS.
    """
    todo: deque[tuple[str, Any, Mapping[str, Any]]] = deque([("", document, schema)])
    for _ in range(MOST_STEPS):
        if not todo:
            return
        path, value, node = todo.popleft()
        fields, values, items = (node.get(name) for name in ("properties", "additionalProperties", "items"))
        room = MOST_STEPS - len(todo)
        if isinstance(value, dict) and fields is not None:
            for name, inner in islice(value.items(), room):
                where = f"{path}.{name}" if path else name
                if name in fields:
                    todo.append((where, inner, fields[name]))
                elif inner is not None:
                    yield where
        elif isinstance(value, dict) and isinstance(values, dict):
            todo.extend((f"{path}.{name}", inner, values) for name, inner in islice(value.items(), room))
        elif isinstance(value, list) and items is not None:
            todo.extend((f"{path}[{number}]", inner, items) for number, inner in enumerate(islice(value, room)))


def _clean(path: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in path[:LONGEST])
