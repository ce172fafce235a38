"""What a test needs of the machine beyond Python: Debian's packages, installed where the tests run as root.

A package that would start a server when it is installed is unpacked into the cache instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.local import debian
from tests.cluster.paths import cache, lock


def need(package: str, *places: Path | str | None) -> None:
    """Install the package unless one of the places is there. The test is skipped where nobody may install."""
    if any(place and Path(place).exists() for place in places):
        return
    if os.geteuid():
        pytest.skip(f"needs Debian's package {package}, and only root may install it")
    debian.install([package])


def unpacked(package: str, program: str) -> Path:
    """Path of one program of a Debian package, which is not installed. The test is skipped where apt has none."""
    folder = cache() / "unpacked" / package
    with lock(f"unpacked-{package}"):
        if not (folder / program).exists():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                debian.download(package, folder)
            except RuntimeError as error:
                pytest.skip(f"needs Debian's package {package}: {error}")
    return folder / program
