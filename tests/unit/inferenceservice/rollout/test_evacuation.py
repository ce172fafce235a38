"""A drain under a single replica: the replacement serves before the pod goes, and no drain waits for ever."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.inferenceservice.observed import SURGED
from slipway.inferenceservice.policy.evacuation import NOTHING, UNPLACED_SECONDS, Phase, Replica, evacuate
from slipway.inferenceservice.service import AUTOSCALERS, Platform
from slipway.runtime import conditions
from tests.unit.inferenceservice.drained import NODE_NAMES, PATIENCE, Cluster, is_ready
from tests.unit.inferenceservice.looks import PLATFORM, look

# A drain, step by step.


def test_the_only_pod_is_not_evicted_before_its_replacement_serves() -> None:
    cluster = Cluster()
    node = cluster.first_node()
    assert cluster.budget is not None
    assert cluster.budget["spec"]["minAvailable"] == 1
    cluster.cordoned = {node}
    assert not cluster.evict(node)
    cluster.operate()
    assert cluster.replicas == 2
    assert (cluster.told["status"], cluster.told["reason"]) == ("False", "ReplacementStarting")
    cluster.control()
    assert not cluster.evict(node)
    cluster.settle()
    assert (cluster.told["status"], cluster.told["reason"]) == ("True", "ReplacementReady")
    assert cluster.evict(node)
    assert cluster.serving() == 1
    cluster.settle()
    assert (cluster.replicas, cluster.serving(), cluster.told) == (1, 1, {})
    assert cluster.deployment is not None
    assert SURGED not in cluster.deployment["metadata"].get("annotations", {})
    assert cluster.events[-2:] == ["ReplacementStarting", "ReplacementReady"]


def test_the_service_stays_ready_and_up_to_date_while_its_replacement_starts() -> None:
    cluster = Cluster()
    cluster.healthy = False
    cluster.cordoned = {cluster.first_node()}
    cluster.settle()
    ready = conditions.get(cluster.status["conditions"], "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("True", "Serving")
    assert conditions.get(cluster.status["conditions"], "Reconciling") is None


@pytest.mark.parametrize(
    ("room", "refused", "seconds", "words"),
    [
        (False, "", PATIENCE, ""),
        (True, "exceeded quota: gpus", PATIENCE, "exceeded quota: gpus"),
        (True, "", PATIENCE, ""),
    ],
    ids=["no node fits", "a quota refuses", "it does not start"],
)
def test_a_drain_goes_on_where_no_replacement_comes(room: bool, refused: str, seconds: int, words: str) -> None:
    cluster = Cluster()
    node = cluster.first_node()
    cluster.room, cluster.refused, cluster.healthy, cluster.cordoned = room, refused, False, {node}
    cluster.settle()
    cluster.now += timedelta(seconds=seconds - 1)
    cluster.settle()
    assert not cluster.evict(node)
    assert cluster.told["reason"] == "ReplacementStarting"
    assert words in cluster.told["message"]
    cluster.now += timedelta(seconds=1)
    cluster.settle()
    assert cluster.told["reason"] == "ReplacementOverdue"
    assert words in cluster.told["message"]
    assert cluster.evict(node)
    assert cluster.events.count("ReplacementOverdue") == 1
    cluster.room, cluster.refused, cluster.healthy = True, "", True
    cluster.settle()
    assert (cluster.replicas, cluster.serving(), cluster.told) == (1, 1, {})
    assert cluster.budget is not None
    assert cluster.budget["spec"]["minAvailable"] == 1


def test_a_pod_that_has_not_served_for_long_holds_no_drain_up_for_ever() -> None:
    cluster = Cluster()
    node = cluster.first_node()
    cluster.healthy = False
    cluster.pods[0]["status"]["conditions"] = []
    cluster.cordoned = {node}
    cluster.settle()
    assert not cluster.evict(node)
    cluster.now += timedelta(seconds=PATIENCE)
    cluster.settle()
    assert cluster.evict(node)


def test_a_replacement_that_breaks_once_it_served_is_given_its_time_again() -> None:
    cluster = Cluster()
    node = cluster.first_node()
    cluster.cordoned = {node}
    cluster.settle()
    cluster.now += timedelta(hours=1)
    cluster.healthy = False
    cluster.pods[1]["status"]["conditions"] = []
    cluster.settle()
    assert cluster.told["reason"] == "ReplacementStarting"
    assert "ReplacementOverdue" not in cluster.events
    assert not cluster.evict(node)


def test_a_node_that_is_not_drained_after_all_gives_the_replacement_back() -> None:
    cluster = Cluster()
    cluster.cordoned = {cluster.first_node()}
    cluster.settle()
    assert cluster.replicas == 2
    cluster.cordoned = set()
    cluster.settle()
    assert (cluster.replicas, cluster.serving(), cluster.told) == (1, 1, {})


def test_a_service_that_grows_or_goes_to_zero_during_the_drain_has_what_was_asked_for() -> None:
    for replicas in (3, 0):
        cluster = Cluster()
        cluster.cordoned = {cluster.first_node()}
        cluster.settle()
        cluster.spec["replicas"] = replicas
        cluster.settle()
        assert (cluster.replicas, cluster.serving(), cluster.told) == (replicas, replicas, {})


def test_several_replicas_go_one_at_a_time_and_need_none_more() -> None:
    cluster = Cluster(replicas=3)
    assert cluster.budget is not None
    assert cluster.budget["spec"]["maxUnavailable"] == 1
    cluster.cordoned = {cluster.first_node()}
    cluster.settle()
    assert (cluster.replicas, cluster.told) == (3, {})


def test_no_size_on_the_way_lets_the_only_pod_go() -> None:
    cluster = Cluster()
    for replicas in (2, 1, 3, 1):
        cluster.spec["replicas"] = replicas
        for step in (cluster.operate, cluster.control, cluster.start) * 4:
            step()
            assert cluster.serving() > 1 or not cluster.allowed(next(filter(is_ready, cluster.pods)))
    assert cluster.gaps == 0


def test_an_operator_that_may_not_read_nodes_lets_the_only_pod_go_as_before() -> None:
    cluster = Cluster()
    node = cluster.first_node()
    cluster.sees_nodes, cluster.cordoned = False, {node}
    cluster.settle()
    assert cluster.budget is not None
    assert cluster.budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in cluster.budget["spec"]
    assert cluster.replicas == 1
    assert cluster.evict(node)


def test_a_cluster_without_budgets_is_none_of_its_business() -> None:
    obj = {
        "metadata": {"name": "d", "namespace": "t", "uid": "u"},
        "spec": {"predictor": {"model": {"uri": "pvc://m"}}},
    }
    bare = Platform(PLATFORM.server_image, None, AUTOSCALERS[0])
    plan = look(obj, platform=bare, leaving=frozenset("a"))
    assert "PodDisruptionBudget" not in {write.manifest["kind"] for write in plan.writes}


@settings(max_examples=40)
@given(st.data())
def test_no_second_is_without_service_and_every_drain_ends(data: st.DataObject) -> None:
    """In whatever order drains, controllers and looks come, as long as replacements start; and nothing is left over."""
    cluster = Cluster()
    for _ in range(data.draw(st.integers(1, 30))):
        node = data.draw(st.sampled_from(NODE_NAMES))
        step = data.draw(st.sampled_from(["cordon", "uncordon", "evict", "operate", "control", "start"]))
        if step == "cordon" and len(cluster.cordoned | {node}) < len(NODE_NAMES):
            cluster.cordoned.add(node)
        elif step == "uncordon":
            cluster.cordoned.discard(node)
        elif step == "evict" and node in cluster.cordoned:
            cluster.evict(node)
        elif step in ("operate", "control", "start"):
            getattr(cluster, step)()
        assert cluster.serving() >= 1
        assert cluster.replicas <= 2
    for node in sorted(cluster.cordoned):
        for _ in range(4):
            cluster.settle()
            gone = cluster.evict(node)
            assert cluster.serving() >= 1
        assert gone
    cluster.settle()
    assert (cluster.replicas, cluster.serving(), cluster.told) == (1, 1, {})


# The rule alone.

replicas = st.builds(Replica, st.sampled_from("xy"), st.sampled_from(["", *NODE_NAMES]), st.booleans())


@given(
    st.lists(replicas, max_size=5),
    st.sets(st.sampled_from(NODE_NAMES)),
    st.sets(st.sampled_from("xy")),
    st.floats(0, 1e6),
    st.floats(70, 90000),
)
def test_the_rule_names_a_revision_and_an_end_whenever_a_pod_has_to_move(
    there: list[Replica], nodes: set[str], surged: set[str], waited: float, patience: float
) -> None:
    answer = evacuate(there, {"x": 1, "y": 0}, nodes, surged, waited, patience)
    own = [one for one in there if one.revision == "x"]
    going = [one for one in own if one.node in nodes]
    serves = any(one.ready and one.node and one.node not in nodes for one in own)
    if not going:
        assert answer == NOTHING
    elif serves:
        assert answer.phase is (Phase.READY if "x" in surged else None)
    else:
        assert answer.revision == "x"
        assert (answer.phase is Phase.STARTING) == (answer.wait is not None and answer.wait > 0)
        assert waited < patience or answer.phase is Phase.OVERDUE
        assert answer.phase is Phase.STARTING or waited >= min(patience, UNPLACED_SECONDS)


def test_a_replacement_without_a_node_is_given_up_sooner_than_one_that_loads_its_model() -> None:
    old, new = Replica("x", "a", True), Replica("x", "b", False)
    lost = Replica("x", "", False)
    sizes, nodes = {"x": 1}, {"a"}
    assert evacuate([old, lost], sizes, nodes, {"x"}, UNPLACED_SECONDS, 3600).phase is Phase.OVERDUE
    assert evacuate([old, new], sizes, nodes, {"x"}, UNPLACED_SECONDS, 3600).phase is Phase.STARTING
    # One that has its replacement keeps it, though another one's pod has to go as well.
    both = [old, Replica("y", "a", True), Replica("y", "b", False)]
    assert evacuate(both, {"x": 1, "y": 1}, nodes, {"y"}, 0, 3600).revision == "y"
    # Of a canary beside it that serves elsewhere the budget makes enough.
    beside = Replica("y", "b", True)
    assert evacuate([old, beside], {"x": 1, "y": 1}, nodes, (), 0, 3600) == NOTHING
