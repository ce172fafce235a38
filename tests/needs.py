"""What a test needs of the machine beyond Python: Debian's packages, installed where the tests run as root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.local import debian


def need(package: str, *places: Path | str | None) -> None:
    """Install the package unless one of the places is there. The test is skipped where nobody may install."""
    if any(place and Path(place).exists() for place in places):
        return
    if os.geteuid():
        pytest.skip(f"needs Debian's package {package}, and only root may install it")
    debian.install([package])
