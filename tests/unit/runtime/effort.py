"""How many random cases a test tries: a few hundred in a quick run, HYPOTHESIS_EFFORT times as many in a long one."""

from __future__ import annotations

import os


def examples(quick: int) -> int:
    return quick * int(os.environ.get("HYPOTHESIS_EFFORT", "1"))
