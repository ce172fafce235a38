"""All or nothing where the server refuses pods: what was made goes, the job tries later, and nothing is counted."""

from __future__ import annotations

import itertools

import pytest

from slipway.api.common.types import Backoff
from slipway.gang.policy import backoff
from slipway.reconcile.plan import Write
from slipway.reconcile.quota_lanes import SHORT_SECONDS, QuotaLanes
from slipway.reconcile.refusal import refused_in_words
from slipway.runtime.client.errors import ApiError, Forbidden, Invalid, Unavailable
from slipway.runtime.client.resource import PODS, SERVICES
from tests.unit.trainingjob.sim_world import START, World
from tests.unit.trainingjob.steps import begin, condition, fail, free_killed, names, run, status, to_next_due


def test_a_gang_of_which_a_quota_takes_a_part_leaves_no_torso(world: World) -> None:
    world.server.pod_quota = 2
    begin(world, nodes=3)
    assert names(world) == [], "two of three would hold their nodes for nothing"
    assert "exceeded quota" in condition(world, "Ready")["message"]
    assert condition(world, "Created")["reason"] == "CreateRefused"
    assert status(world).get("restartCount", 0) == 0
    world.server.pod_quota = 3
    to_next_due(world)
    assert names(world) == [f"job-node-{index}-a1" for index in range(3)]
    assert condition(world, "Created")["status"] == "True"
    assert status(world).get("backoff") is None
    assert status(world).get("restartCount", 0) == 0


def test_a_quota_that_appears_before_a_restart_leaves_no_torso(world: World) -> None:
    begin(world, nodes=3)
    run(world)
    world.server.pod_quota = 2
    fail(world, "job-node-0-a0")
    free_killed(world)
    for _ in range(3):
        assert [pod for pod in world.pods if pod["status"]["phase"] != "Failed"] == []
        to_next_due(world)
    assert status(world)["restartCount"] == 1
    world.server.pod_quota = None
    while len(names(world)) < 4:
        to_next_due(world)
    run(world)
    assert condition(world, "Running")["status"] == "True"
    assert status(world)["backoff"]["restarts"] == 1, "the row of restarts goes on"


def test_pods_that_run_when_the_rest_is_refused_get_their_grace_period(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node is quick: the first pod runs before the last is refused."""
    whole = world.process.kube.create

    async def quick(resource, obj):
        made = await whole(resource, obj)
        if resource is PODS:
            world.start_pod(made, "node-a")
        return made

    monkeypatch.setattr(world.process.kube, "create", quick)
    world.server.pod_quota = 2
    begin(world, nodes=3)
    assert names(world) == ["job-node-0-a0", "job-node-1-a0"]
    assert all(pod["metadata"]["deletionGracePeriodSeconds"] == 30 for pod in world.pods)
    world.server.pod_quota = None
    world.clock.seconds += 20
    world.settle()
    assert len(names(world)) == 2, "the next try waits until they have gone"
    monkeypatch.undo()
    free_killed(world)
    assert names(world) == [f"job-node-{index}-a1" for index in range(3)]


def test_a_refusal_is_no_reason_to_ask_once_a_second(world: World) -> None:
    world.server.pod_quota = 2
    begin(world, nodes=3)
    asked: list[float] = []
    for _ in range(40):
        before = len(world.server.born)
        to_next_due(world)
        if len(world.server.born) > before:
            asked.append(world.clock.seconds)
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(asked)]
    assert pauses[:5] == [10, 20, 40, 60, 60]


def test_news_do_not_end_the_pause(world: World) -> None:
    """What goes in the wake of a refusal is news of the job's own pods, and each of them would ask the server again."""
    world.server.pod_quota = 2
    begin(world, nodes=3)
    born = len(world.server.born)
    for seconds in range(4):
        world.clock.seconds += seconds / 4
        world.edit(("runPolicy", "startupDeadlineSeconds"), 100 + seconds)
        world.settle()
    assert len(world.server.born) == born


def test_suspend_and_resume_ask_at_once(world: World) -> None:
    world.server.pod_quota = 2
    begin(world, nodes=3)
    for suspend in (True, False):
        world.edit(("runPolicy", "suspend"), suspend)
        world.server.pod_quota = None
        world.settle()
    assert len(names(world)) == 3


def test_an_elastic_gang_keeps_what_it_can_train_with(world: World) -> None:
    world.server.pod_quota = 2
    trainer = {"command": ["train"]}
    elastic = {"minNodes": 2, "maxNodes": 4}
    world.create_job({"numNodes": 3, "trainer": trainer, "elasticPolicy": elastic, "failurePolicy": {}})
    world.settle()
    assert len(names(world)) == 2
    world.server.pod_quota = None
    to_next_due(world)
    assert names(world) == [f"job-node-{index}-a0" for index in range(3)]


def test_a_strangers_pod_in_the_way_of_one_lets_the_others_go(world: World) -> None:
    world.server.create(PODS, {"metadata": {"name": "job-node-1-a0"}, "spec": {}})
    begin(world, nodes=3)
    assert names(world) == []
    assert "job-node-1-a0" in condition(world, "Ready")["message"]
    to_next_due(world)
    assert names(world) == [f"job-node-{index}-a1" for index in range(3)]


WEBHOOK = 'admission webhook "policy.example.com" denied the request: no image of this registry'
POLICY = "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
AWAY = 'Internal error occurred: failed calling webhook "policy.example.com": connection refused'


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q'), True),
        (Forbidden(403, "Forbidden", 'pods "x" is forbidden: maximum cpu usage per Container is 1'), True),
        (Forbidden(403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'), True),
        (ApiError(400, "BadRequest", WEBHOOK), True),
        (Invalid(422, "Invalid", POLICY), True),
        (Unavailable(500, "InternalError", AWAY), True),
        (Invalid(422, "Invalid", "spec.containers[0].image: Required value"), False),
        (Unavailable(503, "ServiceUnavailable", "etcd is away"), False),
        (ApiError(400, "BadRequest", "json: cannot unmarshal"), False),
    ],
)  # fmt: skip
def test_a_refusal_is_known_by_its_words_where_the_code_is_somebodys_choice(error: ApiError, told: bool) -> None:
    assert (refused_in_words(error) is not None) == told


@pytest.mark.parametrize("code", [400, 422])
def test_a_webhook_that_refuses_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    whole = world.process.kube.create

    async def refuse(resource, obj):
        if resource is PODS and obj["metadata"]["name"].startswith("job-node-2"):
            raise (Invalid if code == 422 else ApiError)(code, "Denied", WEBHOOK)
        return await whole(resource, obj)

    monkeypatch.setattr(world.process.kube, "create", refuse)
    begin(world, nodes=3)
    assert names(world) == []
    assert condition(world, "Created")["reason"] == "CreateRefused"
    assert WEBHOOK in condition(world, "Ready")["message"]
    assert condition(world, "Ready")["status"] == "Unknown"
    monkeypatch.undo()
    to_next_due(world)
    assert len(names(world)) == 3


def test_words_of_a_policy_that_change_are_told_as_they_are_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some have the time, or a number of the request, in them: that is no reason to write, or to ask, more often."""
    whole, tries = world.process.kube.create, itertools.count(1)

    async def refuse(resource, obj):
        if resource is PODS and obj["metadata"]["name"].startswith("job-node-0"):
            raise Invalid(422, "Invalid", f"{POLICY}, request {next(tries)}")
        return await whole(resource, obj)

    monkeypatch.setattr(world.process.kube, "create", refuse)
    begin(world, nodes=2)
    assert "denied request: no, request 1" in condition(world, "Ready")["message"]
    to_next_due(world)
    assert "denied request: no, request 2" in condition(world, "Ready")["message"]
    written, until = len(world.server.status_history), world.clock.seconds + 3600
    while world.clock.seconds < until:
        to_next_due(world)
    asked = next(tries) - 1
    assert asked <= 3 + 3600 / 50
    assert f"request {asked}" in condition(world, "Ready")["message"]
    assert len(world.server.status_history) - written <= 3 * asked
    monkeypatch.undo()
    while len(names(world)) < 2:
        to_next_due(world)


def test_gangs_are_made_one_by_one_where_one_was_refused() -> None:
    now = [0.0]
    lanes = QuotaLanes(lambda: now[0])
    pods, services = [Write(PODS, {})], [Write(SERVICES, {})]
    with lanes.enter("n", pods) as first, lanes.enter("n", pods) as second:
        assert (first, second) == (True, True)
    lanes.refused("n")
    with lanes.enter("n", pods) as first, lanes.enter("n", pods) as second, lanes.enter("m", pods) as elsewhere:
        assert (first, second, elsewhere) == (True, False, True)
        with lanes.enter("n", services) as other:
            assert other
    with lanes.enter("n", pods) as again:
        assert again
    now[0] = SHORT_SECONDS
    with lanes.enter("n", pods), lanes.enter("n", pods) as second:
        assert second


def test_a_users_short_pauses_after_failures_do_not_shorten_those_after_refusals() -> None:
    told = backoff.after_refusal({"restarts": 2}, START)
    assert told["restarts"] == 2
    assert backoff.seconds_left(Backoff(seconds=0, max_seconds=0), told, START) == backoff.FIRST_REFUSAL_SECONDS
