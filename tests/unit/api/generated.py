"""Hypothesis strategies for specs that are right, nearly right, or wrong in ways that nobody thought of.

A spec is a right one with a few of its fields, at any depth, replaced by values drawn from the field's own schema: its
bounds, one step beyond them, another type, and words that the rules care about.
"""

import functools
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.unit.api.admission import schema_problems
from tests.unit.api.manifests import FULL, OWN, merged

Schema = dict[str, Any]

WORDS = (
    *(
        "a",
        "data",
        "auto",
        "x y",
        "line\n",
        "",
        "Aa-._9",
        "é",
        "-",
        "a" * 63,
        "a" * 64,
        "a" * 254,
        "example.com/train:1",
        "package.module:function",
    ),
    *("1", "2", "-1", "0", "500m", "16Gi", "1e3", "1.5"),
    *("cpu", "memory", "gpu", "nvidia.com/gpu", "RANK", "PET_X", "NCCL_DEBUG"),
    *("metadata.name", "status.podIP", "limits.memory", "requests.cpu"),
    *("slipway.dev/x", "slipway-job", "app.kubernetes.io/managed-by"),
    *("/data", "/etc/slipway", "/etc/slipwayx", "/dev/shm/x", "/", "//", "/a/../b", "..", "a/.."),
    *("pvc://claim/path", "pvc://claim", "pvc://claim/path/below", "pvc://claim/pathological", "pvc://a/../b"),
    *("hf://owner/name", "hf://owner/name@1", "s3://bucket/key", "https://host/x", "file:///x", "ftp://x"),
    "http://mlflow.example.com:5000",
    f"sha256:{'0' * 64}",
)
NUMBERS = (-1, 0, 1, 2, 3, 4, 64, 255, 256)
ODD = ("a" * 47, "a" * 48, "a" * 49, "a" * 50, "a" * 51, "1a", "a.b", "A", "a-", "a\n")
NAMES = st.one_of(*[st.just("digits")] * 12, st.sampled_from(ODD))


def values(node: Schema) -> st.SearchStrategy[Any]:
    """Values for a field: mostly right ones, and ones that are just wrong."""
    kind = node.get("type")
    if kind == "object":
        return _objects(node)
    if kind == "array":
        size = node.get("minItems", 0)
        return st.lists(values(node["items"]), min_size=size, max_size=min(size + 2, node["maxItems"]))
    candidates: list[Any] = [*node.get("enum", WORDS), *NUMBERS, 0.5, 1.5, True, False, "true"]
    if kind in {"integer", "number"}:
        candidates += [node["minimum"], node["maximum"], node["minimum"] - 1, node["maximum"] + 1]
    right = [value for value in candidates if not schema_problems(value, node)]
    assert right, f"no word for {node}"
    return st.one_of(*[st.sampled_from(right)] * 60, st.sampled_from(candidates))


def _objects(node: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in node:
        return st.dictionaries(st.sampled_from(WORDS), values(node["additionalProperties"]), max_size=2)
    required = set(node.get("required", []))
    strategies = {name: values(child) for name, child in node["properties"].items()}
    return st.fixed_dictionaries(
        {name: strategy for name, strategy in strategies.items() if name in required},
        optional={name: strategy for name, strategy in strategies.items() if name not in required},
    )


def fields(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every field of a schema by path, not inside lists."""
    for name, child in schema.get("properties", {}).items():
        yield (*path, name), child
        yield from fields(child, (*path, name))


def _patch(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def specs(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """A right spec with up to four fields replaced."""
    built_in = list(fields(schema))
    own = [
        (path, node) for path, node in built_in if path[0] not in {"recipe", "output", "checkpoint"} or len(path) == 1
    ]
    return st.one_of(*[_changed(FULL, built_in)] * 2, _changed(OWN, own))


def _changed(base: dict[str, Any], places: list[tuple[tuple[str, ...], Schema]]) -> st.SearchStrategy[dict[str, Any]]:
    change = st.sampled_from(places).flatmap(lambda place: values(place[1]).map(lambda value: _patch(place[0], value)))
    return st.lists(change, max_size=4).map(lambda patches: functools.reduce(merged, patches, base))
