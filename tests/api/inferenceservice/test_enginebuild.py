"""Engine builds: a real Job controller runs the Job that the operator makes; only what its pod says is scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.inferenceservice.services import Town, predictor, revision
from tests.api.operators import Operator
from tests.api.stage import Stage, condition, marked
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
JOBS = "/apis/batch/v1/namespaces/{}/jobs"
CACHE = {"uri": "pvc://engines/cache"}
FACTS = {"key": "0f", "architecture": "sm89", "library": "tensorrt-11.4.0", "bytes": 4096, "buildSeconds": 12.5}
BUILT = Exit(message=json.dumps({"engine": FACTS}))
GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Iterator[Operator]:
    """Ends with its namespace, whose pods hold devices that others want."""
    running = operators(stage.namespace("engines"), SLIPWAY_SERVER_IMAGE="registry.example.com/slipway/server:test")
    yield running
    running.kill()
    stage.remove("/api/v1/namespaces/engines")


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Town:
    operator.ready()
    return Town(stage, "engines")


def builds(pod: dict[str, Any]) -> bool:
    return "slipway.dev/job-uid" not in pod["metadata"]["labels"]


def script(town: Town, name: str, build: Script) -> None:
    """What its build pods do; those that serve run."""
    town.stage.scripts[name] = lambda pod: build if builds(pod) else Script(runs_for=None)


def of(engine: str, **fields: Any) -> dict[str, Any]:
    return predictor(engine={"name": engine, "cache": CACHE}, **GPU, **fields)


def test_tensorrt_alone_serves_once_its_job_has_built_the_engine(town: Town, name: str) -> None:
    script(town, name, Script(runs_for=None))
    town.create(name, predictor=of("tensorrt"))
    waiting = town.until(name, lambda s: marked(s, "EngineReady", "False", "EngineBuilding"))
    assert not marked(waiting, "Ready", "True")
    (pod,) = town.stage.until_pods(town.namespace, name, lambda all_: len(all_) == 1).values()
    assert builds(pod)
    assert pod["spec"]["containers"][0]["command"][-1] == "--build-only"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert not town.deployments(name)
    town.stage.finish(town.namespace, pod["metadata"]["name"], BUILT)
    status = town.until_ready(name)
    assert marked(status, "EngineReady", "True", "EngineBuilt")
    assert status["engine"].items() >= FACTS.items()
    (job,) = (item["metadata"]["name"] for item in town.client.get(town.path(JOBS))["items"] if name in str(item))
    assert status["engine"]["job"] == job == f"{name}-{revision(status)}-engine"


def test_a_fallback_serves_while_the_job_builds_and_then_starts_again_with_the_engine(town: Town, name: str) -> None:
    script(town, name, Script(runs_for=None))
    town.create(name, predictor=of("auto"))
    first = town.until_ready(name)
    assert marked(first, "EngineReady", "False", "EngineBuilding")
    pods = town.stage.until_pods(town.namespace, name, lambda all_: len(all_) == 2)
    before = {uid: pod for uid, pod in pods.items() if not builds(pod)}
    town.stage.finish(town.namespace, next(key for key, pod in pods.items() if builds(pod)), BUILT)

    def replaced(there: dict[str, Any]) -> bool:
        serving = {key: pod for key, pod in there.items() if not builds(pod)}
        # Somebody serves at every moment.
        assert any(marked(pod["status"], "Ready", "True") for pod in serving.values())
        return bool(serving) and not set(serving) & set(before)

    after = town.stage.until_pods(town.namespace, name, replaced)
    (pod,) = (pod for pod in after.values() if not builds(pod))
    assert pod["metadata"]["annotations"]["slipway.dev/engine"] == "built"
    # The first replica's Ready stands until the second one's is heard of.
    status = town.until(name, lambda status: marked(status, "EngineReady", "True"))
    assert revision(status) == revision(first)
    town.until_ready(name)


def test_a_build_that_fails_tells_why_and_the_fallback_goes_on(town: Town, name: str) -> None:
    words = "error: TensorRT cannot read the model: no such operator"
    script(town, name, Script(exit=Exit(code=2, message=words)))
    town.create(name, predictor=of("auto"))
    status = town.until(name, lambda s: marked(s, "EngineReady", "False", "EngineBuildFailed"))
    assert words in condition(status, "EngineReady")["message"]  # type: ignore[index]
    assert revision(town.until_ready(name))


def test_an_edit_takes_the_build_of_the_revision_before_away(town: Town, name: str) -> None:
    script(town, name, Script(runs_for=None))
    town.create(name, predictor=of("tensorrt"))
    town.until(name, lambda s: marked(s, "EngineReady", "False"))
    (first,) = town.stage.until_pods(town.namespace, name, lambda all_: len(all_) == 1)
    old = town.stage.plane.client.get(town.path(JOBS, first.rsplit("-", 1)[0]))["metadata"]["name"]
    town.edit(name, predictor=of("tensorrt", batching={"maxBatchSize": 8}))
    town.stage.until_gone(town.path(JOBS), old)
    town.stage.until_pods(town.namespace, name, lambda all_: first not in all_ and len(all_) == 1)


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(town: Town, operator: Operator) -> None:
    assert operator.running(), operator.tail()
    assert "Traceback" not in operator.log.read_text(), operator.tail()
