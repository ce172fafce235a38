"""Every page of docs/ is reached from README, by links alone."""

from __future__ import annotations

import re

from tests.cluster.paths import REPOSITORY


def test_every_page_is_reached_from_readme() -> None:
    docs = REPOSITORY / "docs"
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
        waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert {path.name for path in docs.glob("*.md") if path not in reached} == set()
