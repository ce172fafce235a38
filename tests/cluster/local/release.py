"""Which Kubernetes a control plane runs: Debian 12's, or a modern one where it has been built."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.local import debian, modern


@dataclass(frozen=True)
class Release:
    """`minor`: of 1.x. `prepare`: makes sure that `programs()` are there, each step said."""

    minor: int
    programs: Callable[[], Path]
    prepare: Callable[[], None]


BOOKWORM = Release(int(debian.VERSION.split(".")[1]), debian.programs, debian.prepare)
MODERN = Release(int(modern.VERSION.split(".")[1]), modern.programs, modern.prepare)


def chosen() -> Release:
    """Debian 12's, which every machine can have; with SLIPWAY_KUBERNETES=modern the other, for all tests of a run."""
    return {"": BOOKWORM, "bookworm": BOOKWORM, "modern": MODERN}[os.environ.get("SLIPWAY_KUBERNETES", "")]
