"""Which Kubernetes a control plane runs: Debian 12's, or the one that $SLIPWAY_KUBERNETES names."""

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


def given() -> Release:
    """The other one. Raises modern.NotGivenError."""
    return Release(modern.minor(), modern.programs, modern.prepare)


def chosen() -> Release:
    """The other one where it is given, else Debian's, which every machine can have. Raises modern.NotGivenError."""
    return given() if os.environ.get(modern.VARIABLE) else BOOKWORM
