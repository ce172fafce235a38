"""Every story has a world of its own."""

from collections.abc import Iterator

import pytest

from tests.unit.trainingjob.sim_world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.loop.close()
