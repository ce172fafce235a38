"""The tutorial's notebook runs on this machine, from the training to an answer."""

from __future__ import annotations

from pathlib import Path

from tests.notebook import TUTORIAL, outputs


def test_the_tutorial_ends_with_an_answer(tmp_path: Path) -> None:
    text = outputs(TUTORIAL, tmp_path, {}, timeout=900)
    assert "a picture of 0 is taken for 0" in text
    assert "sha256:" in text
