"""Names of tests: short, and the same in each process, which pytest-xdist compares before it begins."""

from __future__ import annotations

import os

import pytest

from tests.conftest import LONGEST

DRAWN = os.urandom(LONGEST + 1)


@pytest.mark.parametrize("value", [DRAWN, DRAWN.hex(), b"short", "short"])
def test_what_was_drawn_is_in_no_name(request: pytest.FixtureRequest, value: bytes | str) -> None:
    name = request.node.name.partition("@")[0]
    assert len(name) < len("test_what_was_drawn_is_in_no_name[]") + LONGEST
    assert name.endswith(("[value0]", "[value1]", "[short0]", "[short1]")), name


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="pytest-xdist does not run this")
def test_the_group_is_known_before_the_work_is_shared_out(request: pytest.FixtureRequest) -> None:
    """Else each test is a group of its own, and every one of them begins its server anew."""
    assert request.node.nodeid.endswith("@unit/test_names.py")
