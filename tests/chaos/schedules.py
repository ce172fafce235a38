"""What happens to one job of a chaos run, and how it must end: drawn from a seed, so that a failure can be repeated."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tests.api.stage import PODS, Stage
from tests.chaos import limits
from tests.cluster.scripted.script import Exit, Script

Object = dict[str, Any]
STORIES = (
    "stumbles",
    "fails for good",
    "is killed",
    "is suspended",
    "is born again",
    "is elastic",
    "is edited",
    "falls silent",
    "vanishes",
    "is drained",
    "is collected",
    "is disowned",
    "is held",
    "is evicted",
    "is squeezed",
    "is bounded",
)
# Only pods whose story is about a lost node are on this one.
DOOMED = "node-2"
FINALIZER = "example.com/looks-at-it"


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
        quick = {"pod": {"terminationGracePeriodSeconds": 1}} if self.on_doomed_node else {}
        policy = {"maxRestarts": most, "nodeLostGraceSeconds": 1, "backoff": {"seconds": 0}}
        return {"numNodes": self.nodes, "failurePolicy": policy, **elastic, **quick, **self._limited}

    @property
    def limited(self) -> bool:
        """Whether a limit of the namespace keeps its pods from being made, as often as that takes."""
        return self.story in ("is squeezed", "is bounded")

    @property
    def _limited(self) -> Object:
        """What a limit has to say of it, and that it starts once the limit is there."""
        if self.story == "is squeezed":
            pod = {"priorityClassName": limits.CLASS, "terminationGracePeriodSeconds": 1}
            return {"pod": pod, "runPolicy": limits.SUSPENDED}
        if self.story == "is bounded":
            trainer = {"image": "x", "command": ["train"], "resourcesPerNode": {"limits": {"cpu": "2"}}}
            return {"trainer": trainer, "runPolicy": limits.SUSPENDED}
        return {}

    @property
    def on_doomed_node(self) -> bool:
        """Whether its last pod's node is lost: it falls silent with the pod, or is gone together with it."""
        return self.story in ("falls silent", "vanishes")

    @property
    def disturbed(self) -> bool:
        """Whether somebody acts on it while it runs: then its first attempt goes on until that has happened."""
        return self.story.startswith("is ")

    def script(self, pod: Object) -> Script:
        """What its pods do, and where."""
        marks = pod["metadata"]["labels"]
        attempt, index = int(marks["slipway.dev/attempt"]), int(marks["slipway.dev/replica-index"])
        doomed = self.on_doomed_node and attempt == 0 and index == self.nodes - 1
        return replace(self._part(attempt, index), node=DOOMED if doomed else f"node-{index % 2}")

    def _part(self, attempt: int, index: int) -> Script:
        fails = Script(runs_for=self.seconds, exit=Exit(code=self.code))
        if self.story == "is elastic":
            return fails if index == self.nodes - 1 else Script(runs_for=None)
        if self.limited:
            return Script(runs_for=self.seconds if self.name in limits.free_to_end else None)
        if self.disturbed or self.on_doomed_node:
            return Script(runs_for=None if attempt == 0 else self.seconds)
        if (attempt < self.stumbles or self.story == "fails for good") and index == attempt % self.nodes:
            return fails
        return Script(runs_for=2 if attempt < self.stumbles else self.seconds)

    @property
    def end(self) -> Object:
        """What must be true at the end, whatever the weather was."""
        restarts = (
            0 if self.story in ("is suspended", "is born again", "is edited", "is collected", "is bounded") else 1
        )
        if self.story in ("stumbles", "fails for good"):
            restarts = self.stumbles
        return {
            "kind": "Failed" if self.story == "fails for good" else "Succeeded",
            "restartCount": restarts,
            # What was done to a job is no failure of its own.
            "restartCountTowardsMax": restarts if self._culprit == "Error" else 0,
            "attempt": {"is suspended": 1, "is elastic": 0}.get(self.story, restarts),
            "failed by": self._culprit,
        }

    @property
    def _culprit(self) -> str:
        if self.story == "stumbles" and not self.stumbles:
            return ""
        causes = dict.fromkeys(("is killed", "is drained", "is disowned", "is held", "vanishes"), "PodDeleted")
        causes["is evicted"] = "Evicted"
        causes["falls silent"] = "NodeLost"
        causes |= dict.fromkeys(("stumbles", "fails for good", "is elastic", "is squeezed"), "Error")
        return causes.get(self.story, "")


def draw(number: int, dice: random.Random) -> Schedule:
    """One schedule."""
    # In turn: each short run has met them all.
    story = STORIES[number % len(STORIES)]
    nodes = dice.randint(2 if story in ("is elastic", "is squeezed") else 1, 3)
    code = dice.choice([1, 3, 137, 143])
    return Schedule(f"c{number}", story, nodes, dice.randint(0, 2), code, dice.uniform(0.05, 0.8))


def disturb(stage: Stage, namespace: str, plan: Schedule, dice: random.Random) -> None:
    """What somebody does to the job once it runs, or before."""
    if plan.limited:
        limits.come_and_go(stage, namespace, plan)
    else:
        _disturb_running(stage, namespace, plan, dice)


def _disturb_running(stage: Stage, namespace: str, plan: Schedule, dice: random.Random) -> None:
    if plan.story != "is elastic":
        _until_running(stage, namespace, plan)
    match plan.story:
        case "is killed":
            pods = f"/api/v1/namespaces/{namespace}/pods"
            stage.delete(pods, f"{plan.name}-node-{dice.randrange(plan.nodes)}-a0")
        case "is drained" | "is collected" | "is disowned" | "is held" | "is evicted":
            _trouble(stage, namespace, plan, dice)
        case "is suspended":
            stage.edit(namespace, plan.name, runPolicy={"suspend": True})
            stage.until_condition(namespace, plan.name, "Suspended", seconds=limits.PATIENT)
            stage.until_pods(namespace, plan.name, lambda pods: not pods, seconds=limits.PATIENT)
            stage.edit(namespace, plan.name, runPolicy={"suspend": False})
        case "is born again":
            jobs = f"/apis/slipway.dev/v1alpha1/namespaces/{namespace}/trainingjobs"
            old = stage.job(namespace, plan.name)["metadata"]["uid"]
            stage.scripts[plan.name] = replace(plan, story="stumbles", stumbles=0).script
            stage.delete(jobs, plan.name)
            stage.until_gone(jobs, plan.name, seconds=limits.PATIENT)
            assert stage.create(namespace, plan.name, **plan.spec)["metadata"]["uid"] != old
        case "is elastic":
            # All go on until another has taken the place of the one that failed, and the last has begun: a job whose
            # nodes have all succeeded needs no new one, nor one whose creation the storm has delayed.
            stage.until_job(namespace, plan.name, lambda status: status.get("restartCount"), seconds=limits.PATIENT)
            names = [f"{plan.name}-node-{index}-a0" for index in (plan.nodes, *range(plan.nodes - 1))]
            stage.until_pods(
                namespace, plan.name, lambda pods: all(_runs(pods.get(pod)) for pod in names), seconds=limits.PATIENT
            )
            for pod in names:
                stage.finish(namespace, pod)
        case "is edited":
            stage.edit(namespace, plan.name, runPolicy={"activeDeadlineSeconds": 3600, "cleanPodPolicy": "All"})
            for index in range(plan.nodes):
                stage.finish(namespace, f"{plan.name}-node-{index}-a0")


def _trouble(stage: Stage, namespace: str, plan: Schedule, dice: random.Random) -> None:
    """What somebody does to its pods."""
    pods, victim = PODS.format(namespace), f"{plan.name}-node-{dice.randrange(plan.nodes)}-a0"
    match plan.story:
        case "is drained":
            said = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
            # Strategic: what the kubelet says of the pod stays. Without it, the pod would seem to be on a silent node.
            body, how = {"status": {"conditions": [said]}}, "application/strategic-merge-patch+json"
            stage.plane.client.call("PATCH", f"{pods}/{victim}/status", body, how)
            stage.delete(pods, victim)
        case "is collected":
            # Each finished pod is removed as soon as its end is written down.
            for index in range(plan.nodes):
                stage.finish(namespace, f"{plan.name}-node-{index}-a0")
                stage.until_job(namespace, plan.name, partial(_written, index=index), seconds=limits.PATIENT)
                stage.delete(pods, f"{plan.name}-node-{index}-a0")
        case "is disowned":
            stage.plane.client.patch(f"{pods}/{victim}", {"metadata": {"ownerReferences": None}})
        case "is held":
            # Somebody's finalizer keeps the pod after its end, until he has looked at it.
            stage.plane.client.patch(f"{pods}/{victim}", {"metadata": {"finalizers": [FINALIZER]}})
            stage.delete(pods, victim)
            stage.until_job(namespace, plan.name, lambda status: status.get("restartCount"), seconds=limits.PATIENT)
            stage.plane.client.patch(f"{pods}/{victim}", {"metadata": {"finalizers": None}})
        case "is evicted":
            # As a kubelet that is short of memory ends a pod, and says so.
            said = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
            told = {"phase": "Failed", "reason": "Evicted", "message": "the node was low on resource: memory"}
            ended = {"terminated": {"exitCode": 137, "reason": "Error"}}
            known = {"name": "trainer", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
            status = {**told, "conditions": [said], "containerStatuses": [known]}
            stage.plane.client.patch(f"{pods}/{victim}/status", {"status": status})


def lose_node(stage: Stage, namespace: str, plans: list[Schedule], before: Callable[[], object]) -> None:
    """The doomed node is lost with the pods of all these jobs; `before` is called when they run, just before it is.

    A silent node's pods are told to go and never do; those of a node that was deleted go without a word.
    """
    for plan in plans:
        _until_running(stage, namespace, plan)
    before()
    stage.lose_node(DOOMED)
    silent = [{"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}]
    for plan in plans:
        pods, name = PODS.format(namespace), f"{plan.name}-node-{plan.nodes - 1}-a0"
        if plan.story == "falls silent":
            # As the node lifecycle controller and its taint manager do.
            stage.plane.client.patch(f"{pods}/{name}/status", {"status": {"conditions": silent}})
            stage.delete(pods, name)
        else:
            # As the pod garbage collector does for pods of a node that is not there any more.
            stage.delete(pods, name, gracePeriodSeconds=0)


def _written(status: Object, index: int) -> bool:
    """Whether the status knows that all nodes up to this one have succeeded."""
    known = (status.get("completed") or {}).get("indexes")
    return bool(status.get("completionTime")) or known == (f"0-{index}" if index else "0")


def _runs(pod: Object | None) -> bool:
    return pod is not None and pod["status"].get("phase") == "Running"


def _until_running(stage: Stage, namespace: str, plan: Schedule) -> None:
    """In a storm, with an operator that hardly lives, this takes its time."""
    stage.until_job(namespace, plan.name, lambda status: status.get("runningTime"), seconds=limits.PATIENT)
