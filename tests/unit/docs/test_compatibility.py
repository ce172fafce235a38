"""docs/compatibility.md says the versions that the repository fixes, and follows them when they change."""

from __future__ import annotations

import pytest

from tests.unit.docs import compatibility
from tests.unit.docs.compatibility import PAGE, locked, page, ranges


def test_the_page_is_as_the_repository_says() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.unit.docs.compatibility"


@pytest.mark.parametrize(
    "path", ["requirements.lock", "tests/unit/trainingjob/programs/ray_peer.py", "images/gpu/server.txt"]
)
def test_another_version_is_another_page(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = compatibility._text
    changed = {"requirements.lock": ("torch==", "torch==9."), "images/gpu/server.txt": (">=10", ">=9")}
    old, new = changed.get(path, ("]==", "]==9."))
    monkeypatch.setattr(
        compatibility, "_text", lambda name: read(name).replace(old, new) if name == path else read(name)
    )
    assert page() != PAGE.read_text()


def test_what_is_installed_is_what_is_taken() -> None:
    from packaging.specifiers import SpecifierSet

    lock = locked()
    for name, extent in ranges().items():
        if name in lock:
            assert all(lock[name] in SpecifierSet(one, prereleases=True) for one in extent.split(" or ")), name
