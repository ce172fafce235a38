"""A watch that breaks off before any one of its events: the job ends as if it had not, and without another event.

A storm once left a job suspended for minutes after it had been resumed, on a machine with twenty processes for each two
cores. Whatever a watch does not tell, the LIST that follows its new position brings in: at each event of a life with a
suspension, at the first try or a later one, by the same operator or the next, and beside an old event that comes late.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from slipway.runtime.client.resource import PODS, Resource
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import World
from tests.unit.trainingjob.steps import condition, status

SPEC = {"numNodes": 2, "trainer": {"command": ["train"]}, "pod": {"terminationGracePeriodSeconds": 30}}


def _start(world: World) -> None:
    for pod in world.pods:
        if pod["status"]["phase"] == "Pending" and not pod["metadata"].get("deletionTimestamp"):
            world.start_pod(pod, "node-a")


def _go(world: World) -> None:
    for pod in world.pods:
        if pod["metadata"].get("deletionTimestamp"):
            world.server.remove(PODS, pod["metadata"]["name"])


def _end(world: World) -> None:
    for pod in world.pods:
        if pod["status"]["phase"] == "Running":
            world.end_pod(pod, 0)


LIFE: tuple[Callable[[World], None], ...] = (
    lambda world: world.create_job(copy.deepcopy({**SPEC, "runPolicy": {}, "failurePolicy": {}})),
    _start,
    lambda world: world.edit(("runPolicy", "suspend"), True),
    _go,
    lambda world: world.edit(("runPolicy", "suspend"), False),
    _start,
    lambda world: world.edit(("runPolicy", "suspend"), True),
    # Resumed before anybody has acted on it: the pods are still on their way out.
    lambda world: world.edit(("runPolicy", "suspend"), False),
    _go,
    _start,
    _end,
)


class Gap:
    """One event of one resource that no watch tells; `healed` when the LIST after it has come through."""

    def __init__(self, world: World, resource: Resource, event: int, healing: str) -> None:
        self.world, self.resource, self.event, self.healing = world, resource, event, healing
        self.happened = self.healed = False

    def settle(self) -> None:
        """As World.settle, but that the watch breaks off before that event."""
        for _ in range(200):
            for resource in (TRAINING_JOBS, PODS):
                self._deliver(resource)
            if not self.world.work():
                return
        pytest.fail("it never comes to rest")

    def _deliver(self, resource: Resource) -> None:
        process = self.world.process
        stream = self.world.server.events.get(resource.plural, [])
        if resource is not self.resource or self.happened or len(stream) <= self.event:
            process.deliver(resource)
            return
        process.deliver(resource, self.event - process.heard[resource.plural])
        # Its new position is the newest version of all: what was before it, it never tells.
        process.heard[resource.plural] = len(stream)
        self.happened = True
        if self.healing in ("at once", "beside an old event"):
            self.heal()

    def heal(self) -> None:
        """The LIST that follows, by the same process or by the next."""
        if not self.happened or self.healed:
            return
        self.healed = True
        if self.healing == "by the next operator":
            self.world.restart()
            return
        self.world.relist()
        if self.healing == "beside an old event":
            for event, old in self.world.server.events[self.resource.plural][: self.event + 1]:
                self.world.process.cache.observe(self.resource, event, copy.deepcopy(old))


def _live(resource: Resource, event: int, healing: str) -> Gap:
    world = World()
    try:
        gap = Gap(world, resource, event, healing)
        for step in LIFE:
            step(world)
            gap.settle()
            # A LIST that failed is tried again some seconds later.
            gap.heal()
            gap.settle()
        assert condition(world, "Succeeded")["status"] == "True", status(world)
        assert status(world).get("restartCount", 0) == 0
        assert sorted(p["metadata"]["name"] for p in world.pods) == ["job-node-0-a2", "job-node-1-a2"]
        return gap
    finally:
        world.loop.close()


@pytest.mark.parametrize("healing", ["at once", "after a failure", "by the next operator", "beside an old event"])
@pytest.mark.parametrize("resource", [TRAINING_JOBS, PODS], ids=lambda resource: resource.plural)
def test_a_watch_that_breaks_off_at_any_event_loses_nothing(resource: Resource, healing: str) -> None:
    event = 0
    while _live(resource, event, healing).happened:
        event += 1
    assert event >= 15, "each event of the life was once the one that nobody told of"
