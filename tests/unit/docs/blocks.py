"""The blocks of a document's section, as a reader finds them. Called by tests that do what is written there."""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    text = page.read_text()
    start = text.index(f"{heading}\n") + len(heading)
    following = re.search(rf"^#{{1,{level}}} ", text[start:], re.MULTILINE)
    return text[start : start + following.start()] if following else text[start:]


def blocks(text: str, language: str) -> list[str]:
    """The blocks of one language, in their order."""
    return [block for found, block in _BLOCK.findall(text) if found == language]


def lines(text: str) -> list[str]:
    """The commands of all blocks of shell, without their comments."""
    return [line.split(" #")[0].rstrip() for block in blocks(text, "sh") for line in block.splitlines() if line.strip()]
