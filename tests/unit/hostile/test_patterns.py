"""Regular expressions of Python's: none of those that a spec's texts are held against takes long for any text."""

from __future__ import annotations

import ast
import contextlib
import importlib
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import slipway
from tests.unit.hostile.cost import SLACK, SLOWNESS

ROOT = Path(slipway.__file__).parent
# The longest text that a spec may hold.
LONGEST = 4096
PIECES = ("a", "/", ".", "-", "0", "_", " ", ":", "a.", "a-", "/a", "../", "a/", "0a", "1e", "..", "-.", "Ki", "a=a,")
BEGINNINGS = ("", "pvc://", "s3://a/", "hf://a/", "nvidia.com/", "a", "/", '"', "{")
# A pattern that is fast for all of them takes microseconds; one of squares, milliseconds.
MOMENT = 0.005


def patterns() -> dict[str, Callable[[str], object]]:
    """Each expression that is given to `re`, as it is used, by where it stands; a compiled one must match whole."""
    found: dict[str, Callable[[str], object]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(("slipway", *path.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("re.") or not node.args:
                continue
            # What is no constant of the module's is a compiled one's own business.
            with contextlib.suppress(NameError):
                expression = eval(ast.unparse(node.args[0]), dict(vars(importlib.import_module(name))))
                if isinstance(expression, str):
                    used = ast.unparse(node.func).removeprefix("re.")
                    pattern = re.compile(expression)
                    held: dict[str, Callable[[str], object]] = {
                        "search": pattern.search,
                        "sub": pattern.search,
                        "match": pattern.match,
                    }
                    found[f"{path.stem}:{node.lineno}"] = held.get(used, pattern.fullmatch)
    return found


PATTERNS = patterns()


def test_they_are_found() -> None:
    assert len(PATTERNS) > 10


@pytest.mark.parametrize("where", PATTERNS)
def test_no_text_of_a_spec_keeps_an_expression_busy(where: str) -> None:
    for beginning, piece in itertools.product(BEGINNINGS, PIECES):
        text = beginning + piece * (LONGEST // len(piece)) + "\0"
        took = min(_seconds(PATTERNS[where], text) for _ in range(3))
        assert took < SLACK * MOMENT * SLOWNESS, f"{took * 1e3:.1f} ms for {beginning!r} and {piece!r}"


def _seconds(held: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    held(text)
    return time.thread_time() - began
