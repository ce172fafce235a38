"""Grace periods are counted by the operator's own clock, however far that is off the server's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import begin, names, run, to_next_due


@pytest.mark.parametrize(
    "skew", [timedelta(hours=-1), timedelta(0), timedelta(hours=1)], ids=["behind", "same", "ahead"]
)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_suspended_pod_gets_its_grace_period_and_no_more_whatever_the_clocks_say(
    skew: timedelta, restarted: bool
) -> None:
    """Of 30 s to save a checkpoint, an operator whose clock was ahead gave none; one behind kept ghosts for an hour."""
    world = World()
    # The server's clock, seen from the operator's.
    world.server.now = lambda: world.clock.now() - skew
    begin(world, nodes=1)
    run(world, "node-a")
    world.lose_node("node-a")
    world.edit(("runPolicy", "suspend"), value=True)
    world.settle()
    asked = world.clock.seconds
    if restarted:
        world.restart()
        world.settle()
    while names(world) and world.clock.seconds < asked + 3600:
        to_next_due(world)
    # terminationGracePeriodSeconds, then nodeLostGraceSeconds.
    assert 40 <= world.clock.seconds - asked <= 42
