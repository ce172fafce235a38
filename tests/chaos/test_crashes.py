"""The operator dies at each of its writes, or works twice at once: the end is that of an undisturbed run."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.proxy import WriteProxy
from tests.api.stage import JOBS, PATIENCE, Object, Stage, condition, marked
from tests.api.watching import watch
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api

# Each crash is mostly waiting: for a pod's end, the backoff, and the next operator.
LANES = 3


class Lane:
    """A namespace with an operator of its own that speaks through a proxy of its own."""

    def __init__(self, stage: Stage, proxy: WriteProxy, operator: Operator, namespace: str) -> None:
        self._stage, self.proxy, self.operator, self._namespace = stage, proxy, operator, namespace

    def calm(self) -> dict[str, Any]:
        """The story of a job that nothing befell."""
        return self._job("calm", None)

    def crash(self, write: int, expected: dict[str, Any]) -> None:
        """The operator is killed at this write of a job's, and another one goes on."""
        assert self._job(f"crash-{write}", write) == expected, f"killed at write {write}: {self.proxy.log}"

    def creations(self) -> Counter[str]:
        """How often each pod of all jobs here was made."""
        return creations(self._stage, self._namespace, "")

    def _job(self, name: str, write: int | None) -> dict[str, Any]:
        self._stage.scripts[name] = stumble
        self.proxy.arm(write, self.operator.kill)
        self._stage.create(self._namespace, name, numNodes=2)
        if write is not None and (self.proxy.struck.wait(20 * PATIENCE) or not self.operator.running()):
            self.operator.start()
        return story(self._stage, self._namespace, name)


@pytest.fixture
def lanes(stage: Stage, name: str, operators: Callable[..., Operator], tmp_path: Path) -> Iterator[list[Lane]]:
    """Several, whose operators work."""
    with ExitStack() as running:
        found = []
        for number in range(LANES):
            proxy = running.enter_context(WriteProxy(stage.plane.kubeconfig))
            namespace = stage.namespace(f"{name}-lane-{number}")
            operator = operators(namespace, proxy.kubeconfig(tmp_path / f"kubeconfig-{number}"))
            running.callback(operator.kill)
            found.append(Lane(stage, proxy, operator, namespace))
        for lane in found:
            lane.operator.ready(60 * PATIENCE)
        yield found


def stumble(pod: dict[str, Any]) -> Script:
    """Node 1 fails in the first attempt; in the second one all succeed."""
    fails = pod["metadata"]["name"].endswith("node-1-a0")
    return Script(runs_for=0.3, exit=Exit(code=1)) if fails else Script(runs_for=None if _first(pod) else 0.3)


def _first(pod: dict[str, Any]) -> bool:
    return str(pod["metadata"]["name"]).endswith("a0")


def story(stage: Stage, namespace: str, name: str) -> dict[str, Any]:
    """What is left of a job, without what differs from run to run: names of jobs, times, UIDs."""
    status = dict(stage.until_condition(namespace, name, "Succeeded", seconds=40))
    for field in ("startTime", "attemptTime", "completionTime", "selector", "activeSeconds", "runningTime"):
        status.pop(field, None)
    status["conditions"] = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
    status["lastFailure"] = {k: v for k, v in status["lastFailure"].items() if k not in ("time", "node")}
    pods = stage.until_pods(namespace, name, lambda all_: len(all_) == 3)
    left = {pod: (p["status"]["phase"], p["metadata"]["labels"]["slipway.dev/attempt"]) for pod, p in pods.items()}
    config = stage.plane.client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}-job")
    service = stage.plane.client.get(f"/api/v1/namespaces/{namespace}/services/{name}-nodes")
    selector = {k: v for k, v in service["spec"]["selector"].items() if not k.endswith("uid")}
    found = {"status": status, "pods": left, "selector": selector, "config": sorted(config["data"])}
    text = json.dumps(found, sort_keys=True).replace(name, "JOB")
    # Which node a pod got is the scheduler's affair.
    same: dict[str, Any] = json.loads(re.sub(r" on node node-\d", "", text))
    return same


def creations(stage: Stage, namespace: str, name: str) -> Counter[str]:
    """How often each pod of a job was made; of all jobs, if the name is empty."""
    return Counter(
        event["objectRef"]["name"]
        for event in stage.requests(f"/namespaces/{namespace}/pods")
        if event["verb"] == "create"
        and event.get("responseStatus", {}).get("code") == 201
        and event["objectRef"].get("name", "").startswith(name and f"{name}-node-")
    )


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)], ids=["each third", "each"])
def test_killed_at_each_write(lanes: list[Lane], step: int) -> None:
    expected = lanes[0].calm()
    writes = [line for line in lanes[0].proxy.log if "/events" not in line]
    assert expected["status"]["restartCount"] == 1
    assert len(writes) >= 12, writes
    free: SimpleQueue[Lane] = SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def crash(write: int) -> None:
        lane = free.get()
        try:
            lane.crash(write, expected)
        finally:
            free.put(lane)

    crashes = range(1, lanes[0].proxy.writes + 1, step)
    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(crash, crashes))
    assert all(lane.operator.running() for lane in lanes)
    made = [lane.creations() for lane in lanes]
    assert sum(map(len, made)) == 4 * (len(crashes) + 1)
    assert {count for pods in made for count in pods.values()} == {1}


def lives(pod: Object) -> bool:
    return pod["status"].get("phase") not in {"Succeeded", "Failed"}


def test_two_operators_at_once_agree(stage: Stage, namespace: str, operators: Callable[..., Operator]) -> None:
    """Without a lease, as when somebody runs one by hand beside the installed one."""
    both = [operators(namespace), operators(namespace)]
    for operator in both:
        operator.ready()
    names = [f"pair-{number}" for number in range(4)]
    for name in names:
        stage.scripts[name] = stumble
        stage.create(namespace, name, numNodes=2)
    for name in names:
        status = stage.until_condition(namespace, name, "Succeeded", seconds=40)
        assert (status["restartCount"], status["attempt"]) == (1, 1)
        assert condition(status, "Ready")["status"] == "True"  # type: ignore[index]
        made = creations(stage, namespace, name)
        assert sorted(made) == sorted(f"{name}-node-{i}-a{a}" for i in range(2) for a in range(2))
        # A create of the first attempt may be on its way in one while the other deletes that attempt: nothing but the
        # lease can keep it from arriving late. What came late is ended.
        assert {count for pod, count in made.items() if pod.endswith("-a1")} == {1}, made
        stage.until_pods(namespace, name, lambda pods: not [p for p in pods if p.endswith("-a0") and lives(pods[p])])
    for operator in both:
        assert operator.stop() == 0


@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_a_restart_beside_many_jobs_writes_nothing(
    stage: Stage, namespace: str, operators: Callable[..., Operator], count: int
) -> None:
    operator = operators(namespace)
    names = [f"many-{number}" for number in range(count)]
    stage.scripts.update({name: lambda pod: Script() for name in names[::2]})
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda name: stage.create(namespace, name), names))

    def settled(jobs: dict[str, Any]) -> bool:
        return len(jobs) == len(names) and all(
            marked(jobs[name]["status"], "Succeeded" if name in stage.scripts else "Running") for name in names
        )

    watch(stage.plane.client, JOBS.format(namespace), settled, seconds=60 * PATIENCE)
    operator.kill()
    before = len(stage.writes(namespace))
    operator.start()
    operator.ready()
    stage.create(namespace, "last")
    stage.until_running(namespace, "last")
    new = [e for e in stage.writes(namespace)[before:] if "last" not in str(e["objectRef"].get("name"))]
    assert [e["requestURI"] for e in new if "/events" not in e["requestURI"]] == []


@pytest.mark.parametrize("nodes", [4])
def test_requests_per_job(stage: Stage, namespace: str, operators: Callable[..., Operator], nodes: int) -> None:
    operators(namespace).ready()
    stage.create(namespace, "cheap", numNodes=nodes)
    stage.until_pods(namespace, "cheap", lambda pods: len(pods) == nodes)
    stage.until_running(namespace, "cheap")
    for index in range(nodes):
        stage.finish(namespace, f"cheap-node-{index}-a0")
    stage.until_condition(namespace, "cheap", "Succeeded")
    path = f"/namespaces/{namespace}/"
    asked = [f"{e['verb']} {e['requestURI']}" for e in stage.requests(path) if e["verb"] not in {"list", "watch"}]
    last_pod = max(i for i, request in enumerate(asked) if request.startswith("create") and "/pods" in request)
    status = next(i for i, request in enumerate(asked) if i > last_pod and request.startswith("patch"))
    assert status + 1 <= nodes + 3, asked
    assert len(asked) - (status + 1) <= 5, asked
