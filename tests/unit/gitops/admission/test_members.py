"""Where the second net is cast nobody poses as a pod of ours: neither by making one nor by relabelling another."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.inferenceservice.service import KIND
from slipway.runtime.client.resource import Object
from tests.unit.gitops.admission.policy import Request, refusals
from tests.unit.gitops.admission.test_policy import one_of

CONTROLLERS = [
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:kube-system:job-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-controller-manager",
]
TENANT = "system:serviceaccount:team:mallory"
ONLY = "only the operator"


def replica() -> Object:
    """A pod of a Deployment of ours, as its ReplicaSet's controller makes it."""
    deployment = one_of("Deployment")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    template = copy.deepcopy(deployment["spec"]["template"])
    about = {"name": "p", "namespace": "team", "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
    assert about["labels"]["slipway.dev/kind"] == KIND
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}


MADE = [one_of("Pod"), replica(), one_of("Deployment"), one_of("Job")]
_ids = ["pod", "replica", "deployment", "job"]


@pytest.mark.parametrize("made", MADE, ids=_ids)
def test_a_tenant_makes_none_and_kubernetes_does(made: Object) -> None:
    assert any(ONLY in words for words in refusals(Request(new=made, user=TENANT)))
    for user in CONTROLLERS:
        assert refusals(Request(new=made, user=user)) == []
    assert refusals(Request(new=made, user="ann", groups=("system:masters",))) == []


def _label(key: str, value: str | None) -> Any:
    def change(obj: Object) -> None:
        if value is None:
            obj["metadata"]["labels"].pop(key, None)
        else:
            obj["metadata"]["labels"][key] = value

    return change


FORGERIES = {
    "another attempt": _label("slipway.dev/attempt", "7"),
    "another index": _label("slipway.dev/replica-index", "9"),
    "another revision": _label("slipway.dev/revision", "zz"),
    "another's": _label("slipway.dev/job-uid", "x"),
    "not managed": _label("slipway.dev/managed", None),
    "an activator": _label("slipway.dev/activator", "x"),
    "owned by nobody": lambda obj: obj["metadata"].pop("ownerReferences"),
    "owned by another": lambda obj: obj["metadata"]["ownerReferences"][0].update(uid="x"),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("made", MADE, ids=_ids)
def test_a_tenant_does_not_change_what_an_object_says_it_is(made: Object, forgery: Any) -> None:
    other = copy.deepcopy(made)
    forgery(other)
    assert any(ONLY in words for words in refusals(Request(new=other, old=made, user=TENANT)))
    assert any(ONLY in words for words in refusals(Request(new=made, old=other, user=TENANT)))
    assert not any(ONLY in words for words in refusals(Request(new=other, old=made, user=CONTROLLERS[0])))


@pytest.mark.parametrize("made", MADE, ids=_ids)
def test_what_is_a_tenants_to_change_stays_so(made: Object) -> None:
    """Whoever has the right may scale a Deployment; a queue puts its own labels on pods."""
    other = copy.deepcopy(made)
    other["metadata"]["labels"]["kueue.x-k8s.io/managed"] = "true"
    other["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    if made["kind"] == "Deployment":
        other["spec"]["replicas"] = 5
    assert refusals(Request(new=other, old=made, user=TENANT)) == []


def test_strangers_objects_are_no_business_of_this() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"app": "y"}}}
    pod["spec"] = {"containers": [{"name": "x", "image": "y"}]}
    assert refusals(Request(new=pod, user=TENANT)) == []
    assert refusals(Request(new=pod, old=pod, user=TENANT)) == []
