"""No figure stands in README or docs that no committed result shows."""

from __future__ import annotations

import re

import pytest

from tests.cluster.paths import REPOSITORY
from tests.perf.figures import BLOCKS, TEXTS, rendered


@pytest.mark.parametrize("name", TEXTS)
def test_figures_are_those_of_the_newest_results(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    assert "<!-- figures:" in text
    assert rendered(text) == text


def test_a_changed_figure_is_noticed() -> None:
    text = (REPOSITORY / "docs/performance.md").read_text()
    forged = re.sub(r"\| (\d+)\.\d \|", "| 999.9 |", text, count=1)
    assert forged != text
    assert rendered(forged) == text


def test_every_block_has_figures() -> None:
    for block in BLOCKS.values():
        assert re.search(r"\d", block())
