"""Limits of the namespace that come and go: a ResourceQuota for one PriorityClass, and a LimitRange."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.api.stage import PATIENCE, PODS, Stage
from tests.api.watching import watch
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Exit

# Of the jobs that are squeezed: the quota is for them alone.
CLASS = "chaos-squeezed"
_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
SUSPENDED: dict[str, Any] = {"suspend": True}
# An operator that is killed all the time, and waits up to a minute between two tries that are refused. On a busy
# machine each of its lives does a few of 64 jobs, drawn at random; what is lost for good is missed after it, too.
PATIENT = 240.0
# Jobs whose pods may end from now on; before, whatever the number of their attempt, they go on.
free_to_end: set[str] = set()


@contextmanager
def priority_class(stage: Stage) -> Iterator[None]:
    """The class, as long as the block lasts."""
    stage.plane.client.call("POST", _CLASSES, {"metadata": {"name": CLASS}, "value": 0})
    try:
        yield
    finally:
        stage.delete(_CLASSES, CLASS)


class Limited(Protocol):
    """What a limit has to know of a schedule."""

    @property
    def name(self) -> str: ...
    @property
    def story(self) -> str: ...
    @property
    def nodes(self) -> int: ...
    @property
    def code(self) -> int: ...


def come_and_go(stage: Stage, namespace: str, plan: Limited) -> None:
    """The limit that the schedule's story is about."""
    if plan.story == "is squeezed":
        squeeze(stage, namespace, plan.name, plan.nodes, plan.code)
    else:
        bound(stage, namespace, plan.name)


def squeeze(stage: Stage, namespace: str, name: str, nodes: int, code: int) -> None:
    """A quota that is one pod short when the job starts, goes, and comes again before it restarts."""
    _allow(stage, namespace, name, nodes - 1)
    stage.edit(namespace, name, runPolicy={"suspend": False})
    stage.until_job(namespace, name, lambda status: _says(status, "quota"), seconds=PATIENT)
    stage.until_pods(namespace, name, lambda pods: not pods, seconds=PATIENT)
    stage.remove(f"{_quotas(namespace)}/{name}")
    job = stage.until_job(namespace, name, lambda status: status.get("runningTime"), seconds=PATIENT)
    _allow(stage, namespace, name, 0)
    free_to_end.add(name)
    stage.finish(namespace, f"{name}-node-0-a{job['status'].get('attempt', 0)}", Exit(code=code))
    stage.until_job(
        namespace, name, lambda status: status.get("restartCount") and _says(status, "quota"), seconds=PATIENT
    )
    # What the others of the gang had is free for somebody else.
    stage.until_pods(namespace, name, lambda pods: not any(_holds(pod) for pod in pods.values()), seconds=PATIENT)
    stage.remove(f"{_quotas(namespace)}/{name}")


def bound(stage: Stage, namespace: str, name: str) -> None:
    """A LimitRange that does not let the job's pods be, and goes."""
    ranges = f"/api/v1/namespaces/{namespace}/limitranges"
    limits = [{"type": "Container", "max": {"cpu": "1"}}]
    stage.plane.client.call("POST", ranges, {"metadata": {"name": name}, "spec": {"limits": limits}})
    _until_enforced(stage, namespace)
    free_to_end.add(name)
    stage.edit(namespace, name, runPolicy={"suspend": False})
    stage.until_job(namespace, name, lambda status: _says(status, "maximum cpu usage per Container"), seconds=PATIENT)
    stage.until_pods(namespace, name, lambda pods: not pods, seconds=PATIENT)
    stage.remove(f"{ranges}/{name}")


def _until_enforced(stage: Stage, namespace: str) -> None:
    """A LimitRange has no status: the server is asked until it refuses."""
    container = {"name": "c", "image": "x", "resources": {"limits": {"cpu": "2"}}}
    pod = {"metadata": {"generateName": "probe-"}, "spec": {"containers": [container]}}
    deadline = time.monotonic() + 20 * PATIENCE
    while True:
        try:
            stage.plane.client.call("POST", f"{PODS.format(namespace)}?dryRun=All", pod)
        except ApiError as error:
            if "maximum cpu usage" in str(error):
                return
            raise
        assert time.monotonic() < deadline, "the server takes no notice of the LimitRange"
        time.sleep(0.05)


def _allow(stage: Stage, namespace: str, name: str, pods: int) -> None:
    """A quota, once the server enforces it."""
    chosen = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": [CLASS]}]}
    spec = {"hard": {"pods": str(pods)}, "scopeSelector": chosen}
    stage.plane.client.call("POST", _quotas(namespace), {"metadata": {"name": name}, "spec": spec})
    watch(
        stage.plane.client,
        _quotas(namespace),
        lambda all_: all_[name].get("status", {}).get("hard"),
        name=name,
        seconds=30 * PATIENCE,
    )


def _quotas(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/resourcequotas"


def _says(status: dict[str, Any], words: str) -> bool:
    return any(words in mark.get("message", "") for mark in status.get("conditions") or [])


def _holds(pod: dict[str, Any]) -> bool:
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in pod["metadata"]
