"""Packages of the lock run with Debian 12's Python, which is 3.11.2 and not any 3.11."""

from __future__ import annotations

import importlib.metadata

from packaging.specifiers import SpecifierSet

DEBIAN_12 = "3.11.2"


def test_every_installed_package_takes_the_oldest_python_that_is_promised() -> None:
    """One of the documents' site asked for 3.11.5: nothing could be set up on the machine that the README names."""
    asked = {one.name: one.metadata.get("Requires-Python") or ">=3" for one in importlib.metadata.distributions()}
    assert asked
    assert {name: wants for name, wants in asked.items() if not SpecifierSet(wants).contains(DEBIAN_12)} == {}
