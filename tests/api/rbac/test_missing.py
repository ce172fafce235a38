"""One right less, and somebody is told which: in a condition, in the log, or in the answer to a pod.

Never silence: the words name the verb and the resource, so that one line in a Role is all there is to repair.
"""

from __future__ import annotations

import pytest

from tests.api.rbac.conftest import Guarded, follow
from tests.api.rbac.role import Right, rights, without
from tests.api.rbac.test_enough import ELSEWHERE, RARE
from tests.api.stage import PATIENCE

pytestmark = pytest.mark.api
# Asked for at the start only.
AT_START = {"list", "watch"}
SHORT = [
    Right("", "pods", "create"),
    Right("", "services", "patch"),
    Right("slipway.dev", "trainingjobs/status", "patch"),
    Right("slipway.dev", "trainingjobs/finalizers", "update"),
]
ALL = [right for right in rights() if right not in RARE and right.resource not in ELSEWHERE]


def needle(right: Right) -> str:
    """The API server's own words."""
    if right.resource.endswith("/finalizers"):
        return "you can't set finalizers on"
    return f'cannot {right.verb} resource "{right.resource}"'


def _is_loud(guarded: Guarded, right: Right) -> None:
    fresh = right.verb in AT_START or right.resource == "leases"
    with without(guarded.stage.plane.client, right):
        if fresh:
            guarded.restart()
        life, before = guarded.life(), len(guarded.said())
        life.begin()

        def told() -> bool:
            guarded.keep()
            everything = guarded.said()[before:] + life.statuses() + life.told
            return needle(right) in everything.replace('\\"', '"')

        heard = follow(life, told, 30 * PATIENCE)
    if fresh:
        guarded.end()
    words = f"{life._done} {life.statuses()}\n{guarded.said()[-3000:]}"
    assert heard, f"{right} is missing, and nobody said so: {words}"


@pytest.mark.parametrize("right", SHORT, ids=str)
def test_a_missing_right_is_named(guarded: Guarded, right: Right) -> None:
    _is_loud(guarded, right)


@pytest.mark.slow
@pytest.mark.parametrize("right", [right for right in ALL if right not in SHORT], ids=str)
def test_every_missing_right_is_named(guarded: Guarded, right: Right) -> None:
    _is_loud(guarded, right)


def test_the_short_list_is_of_rights_that_are_granted() -> None:
    assert set(SHORT) <= set(rights())
