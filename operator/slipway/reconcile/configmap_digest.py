"""Digest on a job's ConfigMap, of what it had in it when it was made: so that a change by hand is seen. Pure.

A digest of what this release would render says nothing: an earlier one may have made the ConfigMap, and pods that run
have programs from it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

MARK = "slipway.dev/content"
# Of a slim ConfigMap: whether its data is what the mark says.
INTACT = "intact"


def marked(manifest: dict[str, Any]) -> dict[str, Any]:
    """The ConfigMap with the digest of its data in its annotations."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), MARK: digest(manifest["data"])}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def intact(config_map: Mapping[str, Any]) -> bool:
    """Tell whether the data is what the mark says; true without a mark, since an earlier release made none."""
    mark = (config_map["metadata"].get("annotations") or {}).get(MARK)
    return mark is None or mark == digest(config_map.get("data") or {})


def digest(data: Mapping[str, Any]) -> str:
    """sha256 of names and texts."""
    return hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()
