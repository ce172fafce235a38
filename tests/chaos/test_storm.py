"""Many jobs in bad weather, with an operator that is killed again and again: each ends as if nothing had been.

`make chaos` runs thousands of schedules; SLIPWAY_CHAOS_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.stage import JOBS, PATIENCE, Stage, condition
from tests.api.watching import watch
from tests.chaos import limits
from tests.chaos.schedules import DOOMED, STORIES, Schedule, disturb, draw, lose_node
from tests.chaos.weather import KINDS_OF_WEATHER, Weather
from tests.chaos.witness import Witness

pytestmark = pytest.mark.api

CI_SEED = 20261122
SEED = int(os.environ.get("SLIPWAY_CHAOS_SEED", CI_SEED))
SCHEDULES = int(os.environ.get("SLIPWAY_CHAOS_SCHEDULES", "5000"))
# The short one is one storm, in which each story is met once. tests/unit/trainingjob/machine plays 150 more lives in
# memory, and interruptions/test_watch_gaps.py breaks a watch off at each event of one.
AT_ONCE, SHORT = 64, len(STORIES)
# Seconds by which the clock of an operator may be ahead or behind; each life has another one.
AHEAD = 40.0
# A part of a gang may hold resources until the next look, of an operator that mostly is not there.
TORSO_SECONDS = 20


class Killer(threading.Thread):
    """kill -9 again and again, at no particular moment: one life in five ends before it has begun to work.

    Until `end` an operator that ends by itself is started again, as a kubelet does it, also when nobody kills any more.
    """

    def __init__(self, operator: Operator, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.operator, self._dice, self._ended, self.kills = operator, dice, threading.Event(), 0
        self._strike: float | None = None
        self._spares = threading.Event()

    def run(self) -> None:
        self._strike = self._soon()
        while not self._ended.wait(0.1):
            if not self.operator.running():
                # As the kubelet does: an operator that cannot even list ends by itself. The next has another clock.
                self.operator.clock_ahead(self._dice.choice([-AHEAD, 0.0, 0.0, AHEAD]))
                self.operator.start()
                self._strike = self._soon() if self._dice.random() < 0.2 else None
            elif self._spares.is_set():
                continue
            elif self._strike is None:
                # On a busy machine it takes its time to start: lives that end before that would bring nothing forward.
                self._strike = self._soon() if self.operator._asks_ready() else None
            elif time.monotonic() > self._strike:
                self.operator.kill()
                self.kills += 1

    def _soon(self) -> float:
        return time.monotonic() + self._dice.uniform(0.3, 2.5)

    def spare(self) -> None:
        """Kill no more."""
        self._spares.set()

    def end(self) -> None:
        self._ended.set()
        self.join()
        if not self.operator.running():
            self.operator.start()


def run(stage: Stage, namespace: str, operator: Operator, weather: Weather, schedules: list[Schedule]) -> int:
    """All schedules at once in a storm; returns how often the operator was killed. Asserts every invariant."""
    dice = random.Random(SEED)
    killer = Killer(operator, dice)
    with Witness(stage.plane.client, namespace) as witness:
        weather.storm = True
        killer.start()
        with ThreadPoolExecutor(AT_ONCE + 1) as people:
            for plan in schedules:
                stage.scripts[plan.name] = plan.script
            list(people.map(lambda plan: stage.create(namespace, plan.name, **plan.spec), schedules))
            busy = [plan for plan in schedules if plan.disturbed]
            doomed = [plan for plan in schedules if plan.on_doomed_node]
            lost = people.submit(lose_node, stage, namespace, doomed, operator.kill)
            list(people.map(lambda plan: disturb(stage, namespace, plan, random.Random(plan.name)), busy))
            lost.result()
        # What was begun in the storm may still die of it.
        killer.spare()
        weather.storm = False
        ended = watch(
            stage.plane.client, JOBS.format(namespace), lambda jobs: _ended(jobs, schedules), seconds=60 * PATIENCE
        )
        killer.end()
        for plan in schedules:
            status = ended[plan.name]["status"]
            assert _end_of(plan, status) == plan.end, f"seed {SEED}, {plan}: {status}"
            # Operators of several clocks wrote them.
            assert _seconds(status["completionTime"]) - _seconds(status["startTime"]) >= -2 * AHEAD, status
    assert witness.faults(most=3) == [], f"seed {SEED}"
    assert witness.torsos(longer=TORSO_SECONDS * PATIENCE) == [], f"seed {SEED}"
    assert witness.untried() == []
    _no_orphans(stage, namespace)
    return killer.kills


def _end_of(plan: Schedule, status: dict[str, Any]) -> dict[str, Any]:
    """How a job has ended, as a schedule says how it should."""
    seen: dict[str, Any] = {"kind": "Succeeded" if condition(status, "Succeeded") else "Failed"}
    seen |= {field: status.get(field, 0) for field in ("restartCount", "restartCountTowardsMax", "attempt")}
    # Of a drain while no operator looks, nothing is left to tell.
    cause = (status.get("lastFailure") or {}).get("reason", "")
    seen["failed by"] = "PodDeleted" if (plan.story, cause) == ("is drained", "Evicted") else cause
    if plan.limited:
        # Each try that the server refuses has a number of its own.
        assert seen["attempt"] >= plan.end["attempt"]
        seen["attempt"] = plan.end["attempt"]
    return seen


@contextmanager
def _weathered(stage: Stage) -> Iterator[None]:
    """End the killing and bring the node back, also when the storm has shown a fault: others use this server, too."""
    try:
        yield
    finally:
        for killer in [one for one in threading.enumerate() if isinstance(one, Killer)]:
            killer.end()
        stage.return_node(DOOMED)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _ended(jobs: dict[str, Any], schedules: list[Schedule]) -> bool:
    def over(job: dict[str, Any]) -> bool:
        status = job.get("status") or {}
        return condition(status, "Succeeded") is not None or condition(status, "Failed") is not None

    return all(plan.name in jobs and over(jobs[plan.name]) for plan in schedules)


def _no_orphans(stage: Stage, namespace: str) -> None:
    """Children of deleted jobs go, and those that stay belong to a job that is there."""
    uids = {job["metadata"]["uid"] for job in stage.plane.client.get(JOBS.format(namespace))["items"]}

    def owned(objects: dict[str, Any]) -> bool:
        owners = [o["metadata"].get("ownerReferences") or [{"uid": None}] for o in objects.values()]
        mine = [refs[0]["uid"] for o, refs in zip(objects.values(), owners, strict=True) if _managed(o)]
        return all(uid in uids for uid in mine)

    for plural in ("pods", "services", "configmaps"):
        watch(stage.plane.client, f"/api/v1/namespaces/{namespace}/{plural}", owned, seconds=60 * PATIENCE)


def _managed(obj: dict[str, Any]) -> bool:
    return (obj["metadata"].get("labels") or {}).get("slipway.dev/managed") == "true"


def storm(stage: Stage, namespace: str, operators: Callable[..., Operator], folder: Path, count: int) -> None:
    dice = random.Random(SEED)
    began, kills = time.monotonic(), 0
    with limits.priority_class(stage), Weather(stage.plane.kubeconfig, SEED) as weather:
        operator = operators(namespace, weather.kubeconfig(folder / "kubeconfig"))
        operator.ready()
        stories: Counter[str] = Counter()
        for first in range(0, count, AT_ONCE):
            schedules = [draw(number, dice) for number in range(first, min(count, first + AT_ONCE))]
            stories.update(plan.story for plan in schedules)
            with _weathered(stage):
                kills += run(stage, namespace, operator, weather, schedules)
            jobs = f"{JOBS.format(namespace)}"
            for plan in schedules:
                stage.delete(jobs, plan.name)
                del stage.scripts[plan.name]
        operator.kill()
    print(
        f"{count} schedules in {time.monotonic() - began:.0f} s, {kills} kills, {dict(weather.seen)}, {dict(stories)}"
    )
    assert set(weather.seen) >= KINDS_OF_WEATHER, f"it was too fair: {dict(weather.seen)}"
    assert stories == Counter(STORIES[number % len(STORIES)] for number in range(count))
    assert kills


def test_the_short_storm_has_each_story_and_each_kind_of_failure() -> None:
    """Drawn from the seed alone: what a run in CI meets does not hang on the machine."""
    dice = random.Random(SEED)
    plans = [draw(number, dice) for number in range(SHORT)]
    assert sorted(plan.story for plan in plans) == sorted(STORIES)
    if SEED == CI_SEED:
        assert {plan.nodes for plan in plans} == {1, 2, 3}
        assert {plan.code for plan in plans} == {1, 3, 137, 143}
        assert {plan.stumbles for plan in plans} == {0, 1, 2}
        assert next(plan for plan in plans if plan.story == "stumbles").stumbles
        assert {plan.end["kind"] for plan in plans} == {"Succeeded", "Failed"}


@pytest.mark.timeout(1800)
def test_each_job_ends_as_if_nothing_had_been(
    stage: Stage, namespace: str, operators: Callable[..., Operator], tmp_path: Path
) -> None:
    storm(stage, namespace, operators, tmp_path, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_thousands_of_schedules(
    stage: Stage, namespace: str, operators: Callable[..., Operator], tmp_path: Path
) -> None:
    storm(stage, namespace, operators, tmp_path, SCHEDULES)
