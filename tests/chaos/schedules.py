"""What happens to one job of a chaos run, and how it must end: drawn from a seed, so that a failure can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.api.stage import Stage
from tests.cluster.script import Exit, Script

Object = dict[str, Any]
STORIES = ("stumbles", "fails for good", "is killed", "is suspended", "is born again", "is elastic", "is edited")


@dataclass(frozen=True)
class Schedule:
    """`stumbles`: attempts of which one pod fails by itself."""

    name: str
    story: str
    nodes: int
    stumbles: int
    code: int
    seconds: float

    @property
    def spec(self) -> Object:
        """The job's, beside what stage.create sets."""
        most = self.stumbles if self.story == "fails for good" else 10
        elastic = {"elasticPolicy": {"minNodes": 1, "maxNodes": self.nodes}} if self.story == "is elastic" else {}
        return {"numNodes": self.nodes, "failurePolicy": {"maxRestarts": most}, **elastic}

    @property
    def disturbed(self) -> bool:
        """Whether somebody acts on it while it runs: then its first attempt goes on until that has happened."""
        return self.story in ("is killed", "is suspended", "is born again", "is edited")

    def script(self, pod: Object) -> Script:
        """What its pods do."""
        marks = pod["metadata"]["labels"]
        attempt, index = int(marks["slipway.dev/attempt"]), int(marks["slipway.dev/replica-index"])
        if self.story == "is elastic":
            fails = index == self.nodes - 1
            return Script(runs_for=self.seconds if fails else 3, exit=Exit(code=self.code if fails else 0))
        if self.disturbed:
            return Script(runs_for=None if attempt == 0 else self.seconds)
        if (attempt < self.stumbles or self.story == "fails for good") and index == attempt % self.nodes:
            return Script(runs_for=self.seconds, exit=Exit(code=self.code))
        return Script(runs_for=2 if attempt < self.stumbles else self.seconds)

    @property
    def end(self) -> Object:
        """What must be true at the end, whatever the weather was."""
        restarts = {"stumbles": self.stumbles, "fails for good": self.stumbles, "is killed": 1, "is elastic": 1}
        attempts = {"is suspended": 1, "is elastic": 0}
        count = restarts.get(self.story, 0)
        return {
            "kind": "Failed" if self.story == "fails for good" else "Succeeded",
            "restartCount": count,
            "attempt": attempts.get(self.story, count),
        }


def draw(number: int, dice: random.Random) -> Schedule:
    """One schedule."""
    story = dice.choice(STORIES)
    nodes = dice.randint(2 if story == "is elastic" else 1, 3)
    code = dice.choice([1, 3, 137, 143])
    return Schedule(f"c{number}", story, nodes, dice.randint(0, 2), code, dice.uniform(0.05, 0.8))


def disturb(stage: Stage, namespace: str, plan: Schedule, dice: random.Random) -> None:
    """What somebody does to the job once it runs."""
    stage.until_running(namespace, plan.name)
    match plan.story:
        case "is killed":
            pods = f"/api/v1/namespaces/{namespace}/pods"
            stage.delete(pods, f"{plan.name}-node-{dice.randrange(plan.nodes)}-a0")
        case "is suspended":
            stage.edit(namespace, plan.name, runPolicy={"suspend": True})
            stage.until_condition(namespace, plan.name, "Suspended", seconds=60)
            stage.until_pods(namespace, plan.name, lambda pods: not pods, seconds=60)
            stage.edit(namespace, plan.name, runPolicy={"suspend": False})
        case "is born again":
            jobs = f"/apis/slipway.dev/v1alpha1/namespaces/{namespace}/trainingjobs"
            old = stage.job(namespace, plan.name)["metadata"]["uid"]
            stage.scripts[plan.name] = lambda pod: Script(runs_for=plan.seconds)
            stage.delete(jobs, plan.name)
            stage.until_gone(jobs, plan.name, seconds=60)
            assert stage.create(namespace, plan.name, **plan.spec)["metadata"]["uid"] != old
        case "is edited":
            stage.edit(namespace, plan.name, runPolicy={"activeDeadlineSeconds": 3600, "cleanPodPolicy": "All"})
            for index in range(plan.nodes):
                stage.finish(namespace, f"{plan.name}-node-{index}-a0")
