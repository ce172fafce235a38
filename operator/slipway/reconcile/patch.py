"""The smallest merge patch (RFC 7386) between two JSON objects. Pure."""

from collections.abc import Mapping
from typing import Any


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Patch from `old` to `new`: changed keys with their values, removed ones as null; lists are replaced whole."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value:
            continue
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        patch[key] = merge_patch(before, value) if both else value  # type: ignore[arg-type]
    return patch
