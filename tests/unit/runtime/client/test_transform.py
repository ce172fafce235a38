"""Objects as large as a server takes them: what of them stays in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from slipway.inferenceservice import transform
from slipway.queueing.resources import slim_footprint
from slipway.runtime.client.resource import Object
from slipway.runtime.client.transform import slim, slim_pod

LARGE = "x" * 250_000
MANY = {f"example.com/k{i}": f"v{i}" for i in range(5000)}
OURS = {f"slipway.dev/k{i}": "v" * 60 for i in range(5000)}
ABOUT: Object = {
    "name": "a",
    "namespace": "ns",
    "uid": "u",
    "resourceVersion": "5",
    "generation": 2,
    "labels": {"slipway.dev/managed": "true", **MANY, **OURS},
    "annotations": {"slipway.dev/spec-hash": "12345678", "slipway.dev/large": LARGE, "other": LARGE, **OURS},
    "managedFields": [{"manager": LARGE}],
    "finalizers": [f"example.com/f{i}" for i in range(5000)],
    "ownerReferences": [{"name": f"o{i}", "uid": f"u{i}", "kind": "Pod", "apiVersion": "v1"} for i in range(5000)]
    + [{"name": "job", "uid": "j", "kind": "TrainingJob", "apiVersion": "slipway.dev/v1alpha1", "controller": True}],
}
MARKS = [{"type": f"T{i}", "status": "True", "message": LARGE[:9000]} for i in range(300)]
CONTAINERS = [
    {"name": f"c{i}", "image": LARGE[:500], "state": {"terminated": {"exitCode": 1, "message": LARGE[:5000]}}}
    for i in range(300)
]
POD: Object = {
    "metadata": ABOUT,
    "spec": {
        "nodeName": "n1",
        "containers": [
            {
                "name": "c",
                "image": "x",
                "env": [{"name": f"E{i}", "value": ""} for i in range(5000)],
                "resources": {"requests": {"cpu": "1", **{f"example.com/r{i}": "1" for i in range(5000)}}},
            }
        ],
    },
    "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": MARKS, "containerStatuses": CONTAINERS},
}
STRANGER = copy.deepcopy(POD)
STRANGER["metadata"]["labels"] = MANY
WAITING = copy.deepcopy(STRANGER)
WAITING["status"]["phase"] = "Pending"
CHILD: Object = {
    "apiVersion": "v1",
    "kind": "Whatever",
    "metadata": ABOUT,
    "data": {"mirror.json": LARGE, "other": LARGE},
    "spec": {
        "replicas": 3,
        "selector": MANY,
        "template": {"metadata": {"annotations": {"slipway.dev/engine": LARGE, "other": LARGE}}, "spec": {"x": LARGE}},
        "rules": [{"backendRefs": [{"name": "b", "weight": 1, "filters": [LARGE]}] * 300}] * 300,
    },
    "status": {"conditions": MARKS, "parents": [{"controllerName": "c", "conditions": []}] * 300},
}
CASES: dict[str, tuple[Callable[[Object], Object], Object, int]] = {
    "metadata": (slim, {"metadata": ABOUT}, 16_000),
    "pod of ours": (slim_pod, POD, 400_000),
    "pod of ours that is packed": (slim_footprint, POD, 400_000),
    "pod of a stranger": (slim_footprint, STRANGER, 1_200),
    "pod of a stranger that says itself where it is": (slim_footprint, WAITING, 200),
    "deployment": (transform.deployment, CHILD, 300_000),
    "service": (transform.address, CHILD, 20_000),
    "configmap": (transform.config_map, CHILD, 20_000),
    "job": (transform.job, CHILD, 300_000),
    "route": (transform.route, CHILD, 80_000),
    "budget": (transform.bare, CHILD, 16_000),
}


@pytest.mark.parametrize("case", CASES)
def test_a_huge_object_keeps_only_what_is_read(case: str) -> None:
    thin_out, obj, most = CASES[case]
    before: Any = copy.deepcopy(obj)
    once = thin_out(obj)
    assert obj == before, "its argument is left alone"
    assert thin_out(once) == once, "twice changes nothing"
    assert len(orjson.dumps(once)) <= most


def test_the_controlling_owner_and_our_marks_stay() -> None:
    kept = slim({"metadata": ABOUT})["metadata"]
    assert [owner["uid"] for owner in kept["ownerReferences"]] == ["j"]
    assert kept["labels"]["slipway.dev/managed"] == "true"
    assert kept["annotations"]["slipway.dev/spec-hash"] == "12345678"
    assert kept["generation"] == 2


def test_a_pod_that_takes_no_room_asks_for_none() -> None:
    assert slim_footprint(WAITING)["spec"] == {"place": ""}
    ended = copy.deepcopy(STRANGER)
    ended["status"]["phase"] = "Succeeded"
    assert slim_footprint(ended)["spec"] == {"place": "n1"}
    assert slim_footprint(STRANGER)["spec"]["requests"]["cpu"] == 1000
