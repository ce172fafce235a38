"""A canary's way: only forward, one transition at a time, nothing before it is written, no second try by itself."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.serving.rollout import Canary, CanaryStep
from slipway.api.serving.status import CanaryPhase
from slipway.inferenceservice.policy.canary import CanaryState, StepObservation, next_state
from slipway.inferenceservice.policy.gate import Outcome, Verdict
from slipway.inferenceservice.policy.traffic import Traffic
from slipway.inferenceservice.telemetry.metrics_poller import MetricsPoller
from slipway.inferenceservice.telemetry.traffic_history import window_name
from slipway.runtime.scraping.scrape import Scraper
from tests.unit.inferenceservice.world import ROLLOUT, World, begun

PLAN = Canary(steps=[CanaryStep(traffic_percent=10), CanaryStep(traffic_percent=50)])
ORDER = [CanaryPhase.STARTING, CanaryPhase.ANALYSING]

verdicts = st.none() | st.builds(Verdict, st.sampled_from(Outcome), st.just("so"), st.just({}))
sights = st.builds(StepObservation, st.booleans(), st.floats(0, 120), verdicts, st.sampled_from(["", "crashed"]))


@settings(max_examples=60)
@given(st.lists(sights, max_size=30))
def test_it_only_goes_forward_and_ends_for_good(seen):
    stand = CanaryState(CanaryPhase.STARTING, 0)
    for observation in seen:
        after = next_state(PLAN, stand, observation)
        if stand.phase in {CanaryPhase.PROMOTED, CanaryPhase.ROLLED_BACK}:
            assert after == stand
        elif after.phase in ORDER:
            before, place = ((s.step, ORDER.index(s.phase)) for s in (stand, after))
            assert place >= before
        if after.phase is CanaryPhase.PROMOTED and after != stand:
            assert observation.verdict is not None
            assert observation.verdict.outcome is Outcome.GOOD
            assert stand == CanaryState(CanaryPhase.ANALYSING, 1, stand.reason, stand.message)
        stand = after


def test_without_figures_it_waits_and_says_why():
    stand = CanaryState(CanaryPhase.ANALYSING, 0)
    after = next_state(PLAN, stand, StepObservation(True, 999, None, unread="metrics of pod x cannot be read"))
    assert (after.phase, after.message) == (CanaryPhase.ANALYSING, "metrics of pod x cannot be read")


def test_a_pod_that_does_not_tell_its_figures_holds_the_promotion():
    """One of many, and perhaps the one that is broken: its failures are not in the others' figures."""
    good = Verdict(Outcome.GOOD, "fine", {})
    silent = StepObservation(True, 999, good, unread="metrics of pod x cannot be read")
    after = next_state(PLAN, CanaryState(CanaryPhase.ANALYSING, 0), silent)
    assert (after.phase, after.step) == (CanaryPhase.ANALYSING, 0)
    assert "pod x cannot be read" in after.message
    assert next_state(PLAN, CanaryState(CanaryPhase.ANALYSING, 0), replace(silent, unread="")).step == 1


def test_whoever_asks_for_fewer_steps_is_content_with_those_that_are_passed():
    short = Canary(steps=[CanaryStep(traffic_percent=10)])
    after = next_state(short, CanaryState(CanaryPhase.ANALYSING, 1), StepObservation(True, 0, None))
    assert after.phase is CanaryPhase.PROMOTED


def test_its_beginning_is_written_before_a_pod_is_made_and_takes_nothing_from_what_serves():
    world = World()
    (first,) = world.revisions()
    world.edit(maxBatchSize=8)
    decision = world.look()
    assert decision.persist_first
    assert decision.status is not None
    assert decision.status["canaryStatuses"][0]["phase"] == "Starting"
    world.settle()
    assert world.revisions() == {first: 4, world.canary["name"]: 1}
    assert (world.canary["phase"], world.canary["actualPercent"]) == ("Analysing", 20)


def test_good_figures_take_it_through_all_steps():
    world, first = begun()
    world.traffic(30)
    world.settle()
    assert world.canary["phase"] == "Analysing", "not for long enough"
    world.traffic(31)
    world.settle()
    assert (world.canary["step"], world.canary["phase"]) == (1, "Analysing")
    assert world.revisions() == {first: 1, world.canary["name"]: 4}
    world.traffic(61)
    decision = world.look()
    assert decision.persist_first
    assert decision.status is not None
    assert decision.status["canaryStatuses"][0]["phase"] == "Promoted"
    assert not decision.deletes, "first the decision, then what follows"
    world.settle()
    assert world.revisions() == {world.canary["name"]: 4}
    predictor = world.status["components"]["predictor"]
    assert (predictor["latestRolledoutRevision"], predictor["previousRolledoutRevision"]) == (
        world.canary["name"],
        first,
    )
    assert all(sum(size.values()) >= 4 for size in world.sizes[2:])


def test_what_is_rolled_back_leaves_when_the_old_one_is_whole_again_and_is_not_tried_again():
    world, first = begun()
    world.traffic(61)
    world.settle()
    world.sizes.clear()
    world.traffic(5, errors=500)
    world.settle()
    assert world.canary["phase"] == "RolledBack"
    assert world.revisions() == {first: 4}
    assert all(sum(size.values()) >= 4 for size in world.sizes)
    world.spec = {**world.spec, "replicas": 2}
    world.settle()
    assert world.revisions() == {first: 2}
    bad = world.canary["name"]
    world.edit(maxBatchSize=16)
    world.settle()
    assert world.canary["name"] != bad
    assert world.canary["phase"] == "Analysing"


def test_editing_back_ends_it_and_another_edit_replaces_it():
    world, first = begun()
    earlier = world.canary["name"]
    world.edit(maxBatchSize=16)
    world.settle()
    assert set(world.revisions()) == {first, world.canary["name"]}
    assert world.canary["name"] != earlier
    world.edit()
    world.settle()
    assert world.revisions() == {first: 4}


def test_operators_that_never_live_as_long_as_a_step_bring_it_to_its_end():
    """Each of them once began the step anew."""
    world, _ = begun()
    for _ in range(8):
        if world.canary["phase"] == "Promoted":
            break
        world.traffic(40, requests=6)
        world.settle()
        world.new_operator(away=5)
        world.settle()
    assert world.canary["phase"] == "Promoted"
    assert "evidence" not in world.canary


def test_what_was_bad_under_one_operator_is_remembered_by_the_next():
    """What each of them sees by itself is too little to decide by."""
    world, _ = begun()
    phases = []
    for _ in range(4):
        world.traffic(5, errors=9, requests=9)
        world.settle()
        phases.append(world.canary["phase"])
        world.new_operator(away=5)
    assert phases[0] == "Analysing"
    assert phases[-1] == "RolledBack"
    assert world.canary["gate"]["requests"] == phases.index("RolledBack") * 18 + 18


def test_time_without_an_operator_was_not_watched():
    world, _ = begun()
    world.traffic(50)
    world.settle()
    world.new_operator(away=3600)
    world.settle()
    assert (world.canary["phase"], world.canary["step"]) == ("Analysing", 0)
    world.traffic(11)
    world.settle()
    assert world.canary["step"] == 1


def test_an_idle_canary_writes_nothing_and_outputs_only_where_the_gate_asks_for_them():
    world, first = begun()
    world.traffic(5)
    assert world.window is not None
    left = {**world.window.revisions, "of-a-canary-before": Traffic(7)}
    world.window = replace(world.window, revisions=left)
    world.settle()
    counts = {c["revision"]: c for c in world.canary["evidence"]["revisions"]}
    assert set(counts) == {first, world.canary["name"]}
    assert counts[world.canary["name"]]["answered"] == 1000
    assert counts[world.canary["name"]]["slow"] == {"0.01": 1000}
    assert counts[world.canary["name"]]["outputs"] == {}
    before = world.status
    world.now += timedelta(seconds=5)
    world.settle()
    assert world.status == before
    gate = {"minRequests": 10, "maxOutputDrift": 0.1}
    world.spec = {**world.spec, "rollout": {**ROLLOUT, "canary": {**ROLLOUT["canary"], "gate": gate}}}
    world.settle()
    world.traffic(5)
    world.settle()
    counts = {c["revision"]: c for c in world.canary["evidence"]["revisions"]}
    assert counts[world.canary["name"]]["outputs"] == {"y/0": 1000}


def test_a_new_operators_memory_begins_with_what_the_status_says():
    world, _ = begun()
    world.traffic(5)
    world.settle()
    poller = MetricsPoller(Scraper(), lambda _: None, lambda _: None, lambda: world.now)
    memory = poller.of({"metadata": {"uid": "u"}, "status": world.status})
    assert memory.window is not None
    assert memory.window.name == window_name(world.status)
    assert memory.window.revisions[world.canary["name"]].answered == 1000
    assert poller.of({"metadata": {"uid": "u"}}) is memory, "what it has seen itself counts from then on"
