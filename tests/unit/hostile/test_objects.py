"""Objects of tenants, as large and as odd as a server takes them: what the operator makes of each costs a moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.api.training.trainingjob import spec_problems
from slipway.gang.status_endpoint import StatusEndpoint
from slipway.inferenceservice.policy.traffic import Traffic
from slipway.inferenceservice.telemetry.traffic_history import TrafficHistory, heard_metrics, metrics_urls
from slipway.quantizationjob.status import result_of
from slipway.queueing.backfill import PendingGang, decide
from slipway.queueing.cluster_capacity import ClusterCapacity
from slipway.queueing.demand import Demand, Node
from slipway.queueing.resources import REQUESTS, amounts, slim_footprint
from slipway.queueing.topology import Spread
from slipway.reconcile import labels
from slipway.reconcile.pods.observed import LONGEST_MESSAGE, observe_pod
from slipway.runtime.client.transform import slim
from slipway.runtime.scraping.scrape import ScrapeResult
from slipway.trainingjob.job import Platform
from slipway.trainingjob.plan import plan
from tests.unit.hostile.cost import LIMIT, assert_bounded, cost
from tests.unit.inferenceservice.looks import deployed, look

NOW = datetime(2026, 11, 29, tzinfo=UTC)
# What etcd takes of one object.
LARGEST = 1_500_000
HOST, ZONE, REGION = "kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
Object = dict[str, Any]


def pod(spec: Object | None = None, status: Object | None = None, **marks: str) -> Object:
    metadata = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1", "labels": marks}
    kind = {"apiVersion": "v1", "kind": "Pod"}
    return {
        **kind,
        "metadata": metadata,
        "spec": {"nodeName": "a", **(spec or {})},
        "status": status or {"phase": "Running"},
    }


SERVES = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}


def container(number: int, **requests: str) -> Object:
    return {"name": f"c{number}", "image": "a", "resources": {"requests": requests}, "imagePullPolicy": "Always"}


PODS: dict[str, Callable[[int], Object]] = {
    "containers": lambda n: pod({"containers": [container(i, cpu=f"{i}m") for i in range(n // 100)]}),
    "init containers": lambda n: pod({"initContainers": [container(i, cpu=f"{i}m") for i in range(n // 100)]}),
    "resources": lambda n: pod({"containers": [container(0, **{f"x.com/r{i}": str(i) for i in range(n // 24)})]}),
    "resources of many": lambda n: pod(
        {"containers": [container(i, **{f"x.com/{i}-{k}": "1" for k in range(60)}) for i in range(n // 1000)]}
    ),
    "digits": lambda n: pod({"containers": [container(0, cpu="9" * n)]}),
    "fraction": lambda n: pod({"containers": [container(0, cpu="0." + "0" * n + "1")]}),
    "exponent": lambda n: pod({"containers": [container(0, cpu=f"1e{n}")]}),
    "negative exponent": lambda n: pod({"containers": [container(0, cpu=f"1e-{n}")]}),
}


@pytest.mark.parametrize("name", PODS)
def test_what_a_strangers_pod_asks_for_is_added_up_in_a_moment_and_never_ends_a_list(name: str) -> None:
    """1e99999 took a second, and 1e9999999 raised what nobody caught: with it the operator ended, again and again."""

    def make(size: int) -> Callable[[], object]:
        it = PODS[name](size)
        return lambda: slim_footprint(it)

    assert_bounded(make, LARGEST)
    kept = slim_footprint(PODS[name](LARGEST))["spec"][REQUESTS]
    assert kept
    assert len(kept) <= 32
    assert all(0 <= amount <= 2**63 * 1000 * 512 for amount in kept.values())


@pytest.mark.parametrize("text", ["1e9999999", "1e999999999", "1e9999999999", "9" * 9999, "1e-999999999", "x", ""])
def test_any_text_is_some_amount(text: str) -> None:
    assert amounts({"cpu": text, "memory": "1Gi"})["memory"] == 2**30


def ended(message: str, code: int = 1) -> Object:
    return {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code, "message": message}}}]}


STATUSES: dict[str, Callable[[int], Object]] = {
    "conditions": lambda n: {"conditions": [{"type": f"t{i}", "status": "True"} for i in range(n // 30)]},
    "containers": lambda n: {"containerStatuses": [{"name": f"c{i}", "state": {}} for i in range(n // 40)]},
    "message": lambda n: ended("x" * n),
    "spaces": lambda n: ended(" " * n),
}


@pytest.mark.parametrize("phase", ["Pending", "Running", "Failed", "Succeeded"])
@pytest.mark.parametrize("name", STATUSES)
def test_what_a_pod_tells_of_itself_is_read_in_a_moment(name: str, phase: str) -> None:
    def make(size: int) -> Callable[[], object]:
        it = pod(status={"phase": phase, **STATUSES[name](size)})
        return lambda: observe_pod(it, NOW)

    assert_bounded(make, LARGEST)


LAST_WORDS: dict[str, Callable[[int], str]] = {
    "depth": lambda n: "[" * n,
    "objects": lambda n: '{"a":' * (n // 5),
    "unknown": lambda n: json.dumps({f"k{i}": i for i in range(n // 14)}),
    "candidates": lambda n: '{"candidates":[' + ",".join("{}" for _ in range(n // 3)) + "]}",
    "digits": lambda n: '{"step":' + "9" * n + "}",
    "spaces": lambda n: " " * n,
}


@pytest.mark.parametrize("name", LAST_WORDS)
def test_last_words_of_a_pod_are_read_in_a_moment(name: str) -> None:
    """A kubelet lets a container say 4 KiB; whoever may write a pod's status is not bound by that."""

    def make(size: int) -> Callable[[], object]:
        it = pod(status={"phase": "Succeeded", **ended(LAST_WORDS[name](size), 0)})
        return lambda: result_of(observe_pod(it, NOW).termination_message)

    assert_bounded(make, LARGEST)
    seen = observe_pod(pod(status={"phase": "Failed", **ended("x" * LARGEST)}), NOW)
    assert len(seen.termination_message) <= LONGEST_MESSAGE
    assert seen.failure is not None
    assert len(seen.failure.message) <= LONGEST_MESSAGE


def test_managed_fields_and_annotations_are_dropped_in_a_moment() -> None:
    def make(size: int) -> Callable[[], object]:
        it = pod()
        it["metadata"]["managedFields"] = [{"fieldsV1": {f"f:{i}": {} for i in range(size // 12)}}]
        it["metadata"]["annotations"] = {f"a{i}": "" for i in range(size // 12)}
        return lambda: slim(it)

    assert_bounded(make, LARGEST)


def largest_spec(size: int) -> Object:
    """All lists of a job as long as its schema lets them be, `size` characters in each text; 1,000 nodes."""
    long = "x" * size
    values = [f"v{j}" for j in range(64)]
    term = {"matchExpressions": [{"key": f"k{i}", "operator": "In", "values": values} for i in range(16)]}
    nodes = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term] * 16},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}] * 16,
    }
    place = {
        "affinity": {"nodeAffinity": nodes},
        "tolerations": [{"key": f"t{i}", "operator": "Exists"} for i in range(32)],
        "annotations": {f"a{i}": long for i in range(32)},
    }
    env = [{"name": f"E{i}", "value": long} for i in range(128)]
    trainer = {"image": "x", "command": ["a"] * 128, "args": [long] * 128, "env": env}
    return {"trainer": trainer, "numNodes": 1000, "numProcPerNode": 8, "pod": place}


def test_the_largest_job_is_planned_in_a_moment_and_its_pods_are_rendered_one_by_one() -> None:
    """A thousand pods of a spec of 1.4 MB were rendered at once: 3.4 s of the loop, and as many gigabytes."""
    spec, platform = largest_spec(3000), Platform("img:1", StatusEndpoint("https://slipway:443"))
    assert spec_problems("j", spec)[1] == []
    metadata = {"name": "j", "namespace": "n", "uid": "u", "generation": 1}
    obj = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}
    began = plan(obj, [], platform, NOW)
    assert sum(write.resource.kind == "Pod" for write in began.writes) == 1000
    assert cost(lambda: plan(obj, [], platform, NOW)) < 2 * LIMIT
    for write in began.writes[:3]:
        assert cost(lambda write=write: write.manifest) < LIMIT  # type: ignore[misc]


def test_a_spec_that_is_wrong_everywhere_is_refused_in_a_moment() -> None:
    spec = largest_spec(3000)
    spec["trainer"]["env"] = [{"name": "E", "value": 1, "x" * 200 + str(i): i} for i in range(128)]
    assert cost(lambda: spec_problems("j", spec)) < LIMIT


def cluster(count: int, zones: int = 3) -> list[Node]:
    whole = {"cpu": 64000, "pods": 110}
    marks = [{HOST: f"n{i}", ZONE: f"z{i % zones}", REGION: "r"} for i in range(count)]
    return [Node(labels[HOST], whole, whole, labels) for labels in marks]


@pytest.mark.parametrize("skew", [1, 7, 300])
@pytest.mark.parametrize("keys", [[REGION, ZONE, HOST], [ZONE, HOST], [REGION, REGION, ZONE, HOST], [HOST] * 4])
def test_spread_over_many_labels_is_decided_in_a_moment(keys: list[str], skew: int) -> None:
    """One full node, three labels that lie within each other: 200 nodes took 9 s, and 1,000 would have taken hours."""
    nodes = cluster(1000)
    nodes[0] = replace(nodes[0], free={"cpu": 0, "pods": 0})
    demand = Demand(999 * (skew + 1), {"cpu": 1}, spreads=tuple(Spread(key, skew) for key in keys))
    capacity = ClusterCapacity(nodes)
    capacity.fit(demand)
    assert cost(lambda: capacity.pack(demand)) < LIMIT


def test_gangs_of_one_namespace_cost_a_decision_no_more_than_the_looks_that_it_has() -> None:
    """A thousand jobs that each ask for something else, in one namespace; the neighbour's gang starts all the same."""
    capacity = ClusterCapacity(cluster(200))
    gangs = [PendingGang(("theirs", str(i)), (0, i), Demand(900, {"cpu": 60000 + i})) for i in range(1000)]
    mine = PendingGang(("mine", "a"), (1,), Demand(1, {"cpu": 1000}))
    assert cost(lambda: decide(ClusterCapacity(cluster(200)), gangs)) < 2 * LIMIT
    found = decide(capacity, [*gangs, mine])
    assert found.admitted == (("mine", "a"),)
    assert "16 other kinds of gangs of its namespace" in found.waiting["theirs", "999"].missing
    assert "room for" in found.waiting["theirs", "0"].missing


def test_labels_of_a_pod_that_are_no_numbers_are_none() -> None:
    for text in ("9" * 63, "x", "-1", "1.5", ""):
        assert observe_pod(pod(None, None, **{labels.ATTEMPT: text, labels.REPLICA_INDEX: text}), NOW).attempt >= 0


def test_the_largest_service_with_a_thousand_pods_is_planned_in_a_moment() -> None:
    """Its revision was hashed ten times in a look, and all pods were read anew for each question about them."""
    env = [{"name": f"E{i}", "value": "x" * 4000} for i in range(128)]
    place = {"annotations": {f"a{i}": "x" * 4000 for i in range(32)}}
    spec = {"predictor": {"model": {"uri": "pvc://m/a"}, "env": env, "pod": place}, "replicas": 1000}
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
    obj = {"apiVersion": "slipway.dev/v1alpha1", "kind": "InferenceService", "metadata": metadata, "spec": spec}
    began = look(obj)
    deployment = deployed(began, ready=500)
    revision = deployment["metadata"]["labels"]["slipway.dev/revision"]
    pods = [pod({}, SERVES, **{"slipway.dev/revision": revision}) for _ in range(1000)]
    for number, one in enumerate(pods):
        one["metadata"] |= {"name": f"p{number}", "uid": f"u{number}"}
    assert cost(lambda: look({**obj, "status": began.status}, [deployment], pods)) < 2 * LIMIT
    memory = TrafficHistory()
    assert cost(lambda: metrics_urls(memory, pods, NOW)) < LIMIT
    for _ in range(2):
        for one in pods:
            heard_metrics(memory, "w", [one], {one["metadata"]["uid"]: ScrapeResult(said=Traffic())}, NOW)
    one = {"u5": ScrapeResult(error="x")}
    assert cost(lambda: heard_metrics(memory, "w", [pods[5]], one, NOW)) < LIMIT / 5
