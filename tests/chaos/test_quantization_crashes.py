"""The operator dies at each of its writes while stages follow each other: the end is that of an undisturbed run."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slipway.api.quantization.status import Stage
from tests.api.operators import Operator
from tests.api.proxy import WriteProxy
from tests.api.quantizationjob.acts import play
from tests.api.quantizationjob.jobs import Jobs
from tests.api.stage import Stage as Scene
from tests.cluster.scripted.script import Exit

pytestmark = pytest.mark.api

# All that a walk can hold: a plain stage, a sharded one in which a pod dies, and the end.
WALK = (Stage.BASELINE, Stage.CALIBRATE, Stage.PUBLISH)
# Differs from run to run, as a job's name and its nodes do.
TIMES = ("startTime", "attemptTime", "completionTime", "activeSeconds", "runningTime")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def proxy(stage: Scene) -> Iterator[WriteProxy]:
    with WriteProxy(stage.plane.kubeconfig) as running:
        yield running


@pytest.fixture(scope="module")
def jobs(stage: Scene) -> Jobs:
    return Jobs(stage)


def start(jobs: Jobs, namespace: str, name: str) -> None:
    """A job with two shards, of which the second is killed once; its walk begins where the operator begins: export."""
    walk = (Stage.EXPORT, *WALK)
    jobs.create(namespace, name, play(walk, shards=2, trouble={(2, 1): Exit(signal=9)}), parallelism=2)


def story(jobs: Jobs, namespace: str, name: str) -> dict[str, Any]:
    """What is left of a job, without what differs from run to run."""
    status = dict(jobs.until_condition(namespace, name, "Succeeded", seconds=60))
    for field in TIMES:
        status.pop(field, None)
    status["conditions"] = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
    status["lastFailure"] = {k: v for k, v in status["lastFailure"].items() if k not in ("time", "node")}
    kept = {f"{name}-2-1-a2", f"{name}-3-0-a4"}
    pods = jobs.stage.until_pods(namespace, name, lambda all_: set(all_) == kept)
    config = jobs.client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}-quantization")
    spec = json.loads(config["data"]["job.json"])["spec"]
    found = {"status": status, "pods": {n: p["status"]["phase"] for n, p in pods.items()}, "spec": spec}
    text = json.dumps(found, sort_keys=True).replace(name, "JOB")
    same: dict[str, Any] = json.loads(re.sub(r" on node node-\d", "", text))
    return same


@pytest.fixture(scope="module")
def undisturbed(
    stage: Scene,
    jobs: Jobs,
    proxy: WriteProxy,
    operators: Callable[..., Operator],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Operator, dict[str, Any], int]:
    """A namespace, its operator behind the proxy, what a run without a crash leaves, and how many writes it takes."""
    namespace = stage.namespace("qj-crashes")
    operator = operators(namespace, proxy.kubeconfig(tmp_path_factory.mktemp("proxied") / "kubeconfig"))
    operator.ready()
    proxy.arm(None)
    start(jobs, namespace, "calm")
    expected = story(jobs, namespace, "calm")
    assert (expected["status"]["restartCount"], expected["status"]["attempt"]) == (1, 4)
    writes = [line for line in proxy.log if "/events" not in line]
    assert len(writes) >= 20, writes
    return namespace, operator, expected, proxy.writes


def crash(jobs: Jobs, proxy: WriteProxy, undisturbed: tuple[str, Operator, dict[str, Any], int], write: int) -> None:
    """Kill the operator at this write, start it again, and compare the end."""
    namespace, operator, expected, _ = undisturbed
    name = f"crash-{next(_numbers)}-at-{write}"
    proxy.arm(write, operator.kill)
    start(jobs, namespace, name)
    if proxy.struck.wait(20) or not operator.running():
        operator.start()
    seen = story(jobs, namespace, name)
    assert seen == expected, f"killed at write {write}: {proxy.log}"
    assert set(Counter(jobs.made(namespace, name)).values()) == {1}, "a pod was made twice"
    assert operator.running()


@pytest.mark.parametrize("tenth", [1, 4, 6, 8])
def test_killed_at_some_writes(
    jobs: Jobs, proxy: WriteProxy, undisturbed: tuple[str, Operator, dict[str, Any], int], tenth: int
) -> None:
    crash(jobs, proxy, undisturbed, undisturbed[3] * tenth // 10)


@pytest.mark.slow
def test_killed_at_each_write(
    jobs: Jobs, proxy: WriteProxy, undisturbed: tuple[str, Operator, dict[str, Any], int]
) -> None:
    for write in range(1, undisturbed[3] + 1):
        crash(jobs, proxy, undisturbed, write)


LAST = 4  # the attempt that ends such a job: every step begins one, and one is restarted


def lives(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") not in {"Succeeded", "Failed"}


def test_two_operators_at_once_agree(jobs: Jobs, namespace: str, operators: Callable[..., Operator]) -> None:
    """Without a lease, as when somebody runs one by hand beside the installed one."""
    both = [operators(namespace), operators(namespace)]
    for operator in both:
        operator.ready()
    names = [f"pair-{number}" for number in range(2)]
    for name in names:
        start(jobs, namespace, name)
    for name in names:
        status = jobs.until_condition(namespace, name, "Succeeded", seconds=60)
        assert (status["restartCount"], status["attempt"]) == (1, LAST)
        made = Counter(jobs.made(namespace, name))
        # As for training jobs: what one of them had on its way while the other went on may come late, and is ended.
        assert {count for pod, count in made.items() if pod.endswith(f"-a{LAST}")} == {1}, made
        jobs.stage.until_pods(namespace, name, lambda pods: not any(lives(pod) for pod in pods.values()))
    for operator in both:
        assert operator.stop() == 0
