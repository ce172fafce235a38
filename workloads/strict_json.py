"""JSON as RFC 8259 has it: NaN and infinities, which json.dumps writes by default, are refused.

Every file that a job leaves for other programs is written through here: one `NaN` makes a whole file unreadable for
kubectl, jq, browsers and Go.
"""

import json
from typing import Any


def document(value: Any, *, sort: bool = True) -> str:
    """Indented, and a line's end. ValueError for a number that is none."""
    return json.dumps(value, indent=2, sort_keys=sort, allow_nan=False) + "\n"


def line(value: Any) -> str:
    """One line with its end, keys in their order. ValueError for a number that is none."""
    return json.dumps(value, allow_nan=False) + "\n"
