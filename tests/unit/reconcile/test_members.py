"""Whatever somebody forges, a job has the pods that it had before: its members are told by all that they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.gang.deleted_pods import DeletedPods
from slipway.gang.predecessors import Predecessors
from slipway.gang.progress_reports import ProgressReports
from slipway.reconcile.labels import ATTEMPT, REPLICA_INDEX
from slipway.reconcile.pods.members import bears_name, members
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Change, Key
from slipway.runtime.client.resource import PODS, Object, identity_of
from slipway.runtime.servers.token_review import PodIdentity
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.sim_world import Clock

JOB: Object = {"metadata": {"namespace": "team", "name": "job", "uid": "u", "resourceVersion": "1"}}
OWNER = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "name": "job", "uid": "u", "controller": True}


def pod(
    name: str = "job-node-0-a0", namespace: str = "team", index: str = "0", attempt: str = "0", **owner: Any
) -> Object:
    labels = {"slipway.dev/managed": "true", REPLICA_INDEX: index, ATTEMPT: attempt}
    metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "resourceVersion": "1"}
    body = {**metadata, "labels": labels, "ownerReferences": [OWNER | owner]}
    return {"metadata": body, "status": {"phase": "Failed"}}


# What makes a genuine pod another's, one by one; any of them is enough.
WRONG: list[dict[str, Any]] = [
    {"namespace": "other"},
    {"apiVersion": "example.com/v1alpha1"},
    {"apiVersion": "v1alpha1"},
    {"kind": "QuantizationJob"},
    {"uid": "v"},
    {"controller": False},
    {"name": "job-node-0-a00"},
    {"name": "evil"},
    {"name": "other-node-0-a0"},
    {"name": "job-node-3-a0"},
    {"name": "job-worker-0-a0"},
    {"name": "job-4-0-a0"},
    {"index": "1"},
    {"index": "00"},
    {"index": ""},
    {"attempt": "7"},
    {"attempt": "-1"},
]


def forge(changes: list[dict[str, Any]], where: int) -> Object:
    fields: dict[str, Any] = {"namespace": "team"}
    for change in changes:
        fields |= change
    owner = {key: fields.pop(key) for key in ("apiVersion", "kind", "uid", "controller") if key in fields}
    made = pod(**fields, **owner)
    # Another object of the genuine pod's name can only be in another namespace.
    if made["metadata"]["namespace"] == "team" and made["metadata"]["name"] == "job-node-0-a0":
        made["metadata"]["name"] = f"job-node-{where}-a0"
        if bears_name(made, "job"):
            made["metadata"]["labels"][REPLICA_INDEX] = str(where + 1)
    made["metadata"]["uid"] = f"forged-{where}"
    return made


forgeries = st.lists(st.lists(st.sampled_from(WRONG), min_size=1, max_size=3), max_size=6)


@given(forgeries)
def test_a_forged_pod_never_changes_what_is_seen_of_a_job(changes: list[list[dict[str, Any]]]) -> None:
    cache = Cache(lambda resource, change: None)
    jobs, pods = cache.add(TRAINING_JOBS), cache.add(PODS)
    jobs.put(JOB)
    pods.put(pod())
    deleted_pods, reports = DeletedPods(Clock().now), ProgressReports(cache, TRAINING_JOBS, lambda key, seconds: None)
    for where, each in enumerate(changes, start=2):
        forged = forge(each, where)
        pods.observe("ADDED", forged)
        deleted_pods.changed(Change(Key("any", "pod"), forged, None))
        about = forged["metadata"]
        owner = reports.find_owner("team", "job", PodIdentity(about["namespace"], about["name"], about["uid"]))
        assert owner is not None
        assert not owner.owns_pod
    assert [each["metadata"]["uid"] for each in members(pods, JOB, TRAINING_JOBS)] == ["team/job-node-0-a0"]
    assert Predecessors(pods, TRAINING_JOBS).predecessors(("team", "job"), "u") == []
    gone = deleted_pods.of(identity_of(JOB, TRAINING_JOBS))
    assert [each for each in gone if bears_name(each, "job")] == []


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_each_of_these_is_wrong_by_itself(change: dict[str, Any]) -> None:
    """So that the test above tries what it says."""
    cache = Cache(lambda resource, change: None)
    pods = cache.add(PODS)
    pods.put(pod())
    assert len(members(pods, JOB, TRAINING_JOBS)) == 1
    pods.put(forge([change], 2))
    assert len(members(pods, JOB, TRAINING_JOBS)) == 1


@pytest.mark.parametrize(
    ("name", "index", "attempt", "bears"),
    [
        ("job-node-0-a0", "0", "0", True),
        ("job-node-12-a3", "12", "3", True),
        ("job-4-1-a9", "1", "9", True),
        ("job-04-1-a9", "1", "9", False),
        ("job--1-a9", "1", "9", False),
        ("job-1-a9", "1", "9", False),
        ("job-node-1-a9-1-a9", "1", "9", False),
        ("job-node-1000000000-a0", "1000000000", "0", False),
        ("job-node-²-a0", "²", "0", False),
    ],
)
def test_the_names_are_those_that_the_operator_gives(name: str, index: str, attempt: str, bears: bool) -> None:
    kind = "TrainingJob" if "node" in name else "QuantizationJob"
    assert bears_name(pod(name, index=index, attempt=attempt, kind=kind), "job") is bears
