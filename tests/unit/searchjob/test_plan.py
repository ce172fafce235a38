"""A SearchJob's plan: chooses, measures, trains, stops and ends; killed at any write, it makes the same trials."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.codegen.crd import root_schema
from slipway.api.search import searchjob
from slipway.searchjob.plan import look, plan
from slipway.searchjob.policy import grid
from slipway.searchjob.policy.ending import limit
from tests.unit.searchjob.world import PLATFORM, KilledError, World, width_of

GRID = {"algorithm": "grid", "maxTrials": 16}


def test_what_is_too_slow_is_never_trained_and_says_by_how_much() -> None:
    world = World(**GRID)
    status = world.run()
    pruned = {one["number"]: one for one in status["trials"] if one["state"] == "Pruned"}
    # 2 ms is a width of 20: five of eight widths fit, with two optimizers each.
    assert status["counts"] == {"active": 0, "succeeded": 10, "pruned": 6, "earlyStopped": 0, "failed": 0}
    assert not {f"s-{number}" for number in pruned} & set(world.trials)
    assert pruned[15]["message"] == "above its limit: p50Milliseconds-onnxruntime-1 3.2"
    assert pruned[15]["figures"] == [{"name": "p50Milliseconds-onnxruntime-1", "value": "3.2"}]
    best = status["best"]
    assert best["parameters"] == {"recipe.model.width": "20", "recipe.optimizer.name": '"sgd"'}
    assert status["artifact"]["uri"] == f"pvc://models/search/{best['name']}"
    # Of equal latency the better one: five widths, all with sgd.
    assert [point["figure"] for point in status["pareto"]] == [0.4, 0.8, 1.2, 1.6, 2.0]
    assert world.condition("Succeeded")["message"] == "trial 8 has accuracy 0.92, the best of 16 trials"
    assert world.pods == {}


def test_pods_measure_one_after_the_other() -> None:
    world = World(parallelTrials=4, **GRID)
    most = 0
    for _ in range(60):
        world.look()
        most = max(most, sum((pod.get("status") or {}).get("phase") is None for pod in world.pods.values()))
        world.go_on()
    assert most == 1
    assert world.condition("Succeeded")["status"] == "True"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.sampled_from(["grid", "random"]), st.booleans(), st.integers(1, 3))
def test_killed_at_any_write_it_makes_the_same_trials_and_none_twice(
    killed_at: int, algorithm: str, constrained: bool, parallel: int
) -> None:
    more: dict[str, Any] = {"algorithm": algorithm, "parallelTrials": parallel}
    if not constrained:
        more["constraints"] = []
    calm, crashed = World(**more), World(**more)
    crashed.killed_at = killed_at
    expected, seen = calm.run(), crashed.run()
    assert [(one["number"], one["parameters"], one["state"]) for one in seen["trials"]] == [
        (one["number"], one["parameters"], one["state"]) for one in expected["trials"]
    ]
    assert seen["best"] == expected["best"]
    trained = {name: count for name, count in crashed.made.items() if "bench" not in name}
    assert set(trained.values()) == {1}
    assert set(trained) == {name for name in calm.made if "bench" not in name}


def test_parameters_are_written_down_before_a_trial_is_made() -> None:
    world = World(constraints=[])
    world.killed_at = 1
    with pytest.raises(KilledError):
        world.look()
    assert world.trials == {}
    assert world.states() == {0: "Pending", 1: "Pending"}
    told = world.status["trials"]
    world.look()
    assert [width_of(world.trials[f"s-{one['number']}"]["spec"]) for one in told] == [
        int(one["parameters"]["recipe.model.width"]) for one in told
    ]


def test_a_status_that_was_lost_is_rebuilt_from_the_trials() -> None:
    world = World(constraints=[])
    for _ in range(3):
        world.look()
        world.go_on()
    before = {one["number"]: one["parameters"] for one in world.status["trials"]}
    world.job["status"] = {"observedGeneration": -1}
    world.look()
    assert {one["number"]: one["parameters"] for one in world.status["trials"][: len(world.trials)]} == {
        number: parameters for number, parameters in before.items() if f"s-{number}" in world.trials
    }
    world.run()
    assert set(world.made.values()) == {1}
    assert len(world.trials) == 6


def test_trials_that_all_fail_alike_end_the_search_in_words() -> None:
    world = World(trains=lambda spec: f"pod s-{width_of(spec)}: exit code 2: no such data set", constraints=[])
    world.job["spec"]["maxFailedTrials"] = 100
    status = world.run()
    assert world.condition("Failed")["reason"] == "TrialsFailed"
    assert "trials failed in the same way: pod s-" in world.condition("Failed")["message"]
    assert status["counts"]["failed"] <= 4, "it went on"


def test_more_failures_than_allowed_end_the_search_and_stop_the_others() -> None:
    world = World(trains=lambda spec: "a" * width_of(spec) if width_of(spec) < 13 else 0.5, constraints=[], **GRID)
    world.job["spec"]["maxFailedTrials"] = 2
    world.run()
    assert "4 trials failed, more than maxFailedTrials, 2; the last: aaa" in world.condition("Failed")["message"]
    assert "artifact" not in world.status


def test_nothing_within_the_limits_ends_in_words() -> None:
    world = World(measures=lambda values: 10 + values["recipe.model.width"])
    world.run()
    message = world.condition("Failed")["message"]
    assert world.condition("Failed")["reason"] == "NoTrial"
    assert "6 have more p50Milliseconds on onnxruntime than 2, the least " in message


def test_parameters_that_do_not_fit_together_fail_without_a_trial() -> None:
    gpt = {"name": "gpt2", "layers": 1, "heads": 1, "hiddenSize": 8}
    template = {"recipe": {"model": gpt, "dataset": {"name": "digits"}}, "output": {"uri": "pvc://m/s"}}
    parameters = [{"path": "recipe.model.name", "categorical": ["gpt2", "cnn"]}]
    world = World(template=template, parameters=parameters, constraints=[], algorithm="grid", trains=lambda _: 0.5)
    status = world.run()
    assert world.states() == {0: "Succeeded", 1: "Failed"}
    assert "are for transformers" in status["trials"][1]["message"]
    assert set(world.trials) == {"s-0"}


def test_suspension_takes_its_trials_along_and_lifts_its_own_alone() -> None:
    world = World(constraints=[], parallelTrials=2)
    world.look()
    world.look()
    world.job["spec"]["runPolicy"] = {"suspend": True}
    world.look()
    assert all(one["spec"]["runPolicy"]["suspend"] for one in world.trials.values())
    assert world.condition("Suspended")["status"] == "True"
    for _ in range(3):
        world.look()
    assert len(world.trials) == 2, "started a trial while suspended"
    quiet = world.look()
    # What is written first is looked at again at once: the operator did nothing else any more.
    assert (quiet.persist_first, quiet.requeue_after) == (False, None)
    world.job["spec"]["runPolicy"] = {"suspend": False}
    world.look()
    assert not any(one["spec"]["runPolicy"]["suspend"] for one in world.trials.values())
    assert world.condition("Suspended") == {}
    world.look()
    quiet = world.look()
    assert (quiet.persist_first, quiet.requeue_after) == (False, None)
    # What somebody else suspends stays so.
    world._patch("s-0", {"spec": {"runPolicy": {"suspend": True}}})
    world.look()
    assert world.trials["s-0"]["spec"]["runPolicy"]["suspend"]


def test_a_trial_worse_than_the_median_of_the_others_is_stopped() -> None:
    world = World(constraints=[], earlyStopping={"minTrials": 2}, parallelTrials=3)
    world.look()
    world.look()
    for name, accuracy in (("s-0", 0.9), ("s-1", 0.8), ("s-2", 0.1)):
        world.report(world.trials[name], 52, accuracy)
    world.look()
    assert world.states()[2] == "EarlyStopped"
    assert world.trials["s-2"]["spec"]["runPolicy"]["suspend"]
    assert world.status["trials"][2]["message"].startswith("at 50 % its best is 0.1, and the median of 2 others")
    assert {world.states()[number] for number in (0, 1)} == {"Training"}
    status = world.run()
    assert status["counts"]["earlyStopped"] == 1
    assert world.trials["s-2"]["spec"]["runPolicy"]["suspend"], "a stopped trial goes on"


def test_hyperband_lets_a_third_go_on_and_compares_within_a_bracket() -> None:
    world = World(constraints=[], algorithm="hyperband", parallelTrials=6)
    for _ in range(3):
        world.look()
    for number in range(6):
        world.report(world.trials[f"s-{number}"], 35, 0.9 - number / 10)
    world.look()
    # Brackets are 0 and 3, 1 and 4, 2 and 5; the last has no rung before the end.
    assert world.states() == {0: "Training", 1: "Training", 2: "Training", 3: "EarlyStopped", 4: "EarlyStopped", 5: "Training"}  # fmt: skip  # noqa: E501


def test_the_target_ends_the_search_and_stops_what_still_trains() -> None:
    world = World(constraints=[], parallelTrials=3, objective={"target": 0.5})
    world.look()
    world.look()
    world.end(world.trials["s-1"], 0.7)
    world.look()
    assert world.status["artifact"]["digest"].startswith("sha256:")
    assert world.condition("Succeeded")["message"] == "trial 1 has accuracy 0.7, which is the target"
    assert world.states() == {0: "EarlyStopped", 1: "Succeeded", 2: "EarlyStopped"}
    assert [name for name, one in world.trials.items() if one["spec"].get("runPolicy", {}).get("suspend")] == ["s-0", "s-2"]  # fmt: skip  # noqa: E501


def test_a_pod_that_cannot_measure_is_tried_again_unless_the_model_is_wrong() -> None:
    world = World()
    world.look()
    world.look()
    world.end_pod(world.pods["s-bench0-0-a0"], 137, "killed")
    world.look()
    world.look()
    assert "s-bench0-0-a1" in world.pods
    world.end_pod(world.pods["s-bench0-0-a1"], 2, "error: this model has no ONNX form")
    world.look()
    assert world.states()[0] == "Failed"
    assert world.status["trials"][0]["message"] == "cannot be measured: error: this model has no ONNX form"


def test_a_trial_that_somebody_deletes_is_told_and_not_made_again() -> None:
    world = World(constraints=[], parallelTrials=1)
    world.look()
    world.look()
    del world.trials["s-0"]
    world.look()
    assert world.status["trials"][0]["message"] == "its TrainingJob was deleted"
    world.run()
    assert world.made["s-0"] == 1


def test_an_artifact_without_the_objective_says_what_it_has() -> None:
    world = World(constraints=[], objective={"metric": "f1"})
    world.run()
    assert "its artifact has no f1, only accuracy" in world.condition("Failed")["message"]


def test_bounds_of_a_status_are_ones_that_a_server_can_compare() -> None:
    """1e300 was; a whole number was then refused, and the search stood still."""

    def bounds(node: Any) -> list[float]:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node[key] for key in ("minimum", "maximum") if key in node] if isinstance(node, dict) else []
        return own + [found for one in inner for found in bounds(one)]

    found = [bound for bound in bounds(root_schema(searchjob.KIND)) if isinstance(bound, int | float)]
    assert len(found) > 50
    assert max(abs(bound) for bound in found) < 2**63


def test_a_search_is_deleted_after_its_time() -> None:
    world = World(constraints=[], runPolicy={"ttlSecondsAfterFinished": 2})
    world.run()
    for _ in range(3):
        decided = world.look()
    assert decided.delete_job


def test_a_wrong_search_makes_nothing_and_is_tried_again_after_an_edit() -> None:
    world = World(parameters=[{"path": "recipe.model.widht", "int": {"min": 4, "max": 8}}], constraints=[])
    for _ in range(3):
        assert not world.look().writes
    assert world.condition("Stalled")["reason"] == "InvalidSpec"
    seen = look(world.job, [], [], PLATFORM, world.now)
    assert not hasattr(seen, "records"), "read as right at the second look"


@pytest.mark.parametrize("path", ["recipe.epochs", "recipe.optimizer.learningRate"])
def test_a_grid_has_each_point_once(path: str) -> None:
    kind = {"int": {"min": 1, "max": 5, "step": 2}} if path == "recipe.epochs" else {"float": {"min": 0.1, "max": 0.3, "step": 0.1}}  # fmt: skip  # noqa: E501
    world = World(parameters=[{"path": path, **kind}, {"path": "recipe.compile", "categorical": ["true", "false"]}])
    seen = look(world.job, [], [], PLATFORM, world.now)
    assert not hasattr(seen, "writes")
    parameters = seen.job.spec.parameters  # type: ignore[union-attr]
    points = [grid.point(parameters, index) for index in range(grid.size(parameters) or 0)]
    assert len({tuple(point.items()) for point in points}) == 6
    assert limit(seen.job.spec) == 6  # type: ignore[union-attr]
    assert plan(seen).writes == ()  # type: ignore[arg-type]
