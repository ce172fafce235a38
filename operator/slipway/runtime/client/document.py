"""Parse what the API server says, however deep it is.

A server takes documents of up to 10,000 levels, and whoever may write one object may fill its managedFields with so
many. orjson ends at 1,024 and Python at its recursion limit: then a LIST that holds the object can't be read, nor a
watch, and no operator could start any more because of one object of one tenant.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import orjson

DEEPEST = 10_000
"""Levels that an API server takes: the limit of Go's encoding/json."""
# Beside those levels: what calls the parser, and what a LIST or an event adds.
_LIMIT = DEEPEST + 2_000


def accept_depth() -> None:
    """Let json.loads, which kopf uses as well, go so deep; each level takes some hundred bytes of the stack."""
    sys.setrecursionlimit(max(_LIMIT, sys.getrecursionlimit()))


def parse(body: bytes) -> Any:
    """The document. Raises ValueError for what is not JSON, or deeper than a server would have taken it."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        accept_depth()
        try:
            return json.loads(body)
        except RecursionError as error:
            raise ValueError("deeper than any server takes it") from error
