"""The second net on a server that casts it: it takes all that the operator makes, and holds what RBAC lets through."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from tests.api.modern.policies import SERVED, Court
from tests.api.watching import watch
from tests.cluster.kubectl import Kubectl
from tests.cluster.local.control_plane import ControlPlane
from tests.unit.gitops.admission.breaches import ALL, Breach
from tests.unit.gitops.admission.policy import FOLDER, Request, documents, refusals
from tests.unit.gitops.admission.test_policy import JOB, MADE, _disowned, one_of
from tests.unit.trainingjob.pods.test_pod_security import BREACHES
from tests.unit.trainingjob.rendered import WITH_STATUS, job_of, pod_of

pytestmark = pytest.mark.api

Object = dict[str, Any]
SOMEBODY = "system:serviceaccount:kube-system:replicaset-controller"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
OURS = [made for made in MADE if made["kind"] in SERVED]


@pytest.fixture(scope="module")
def court(plane: ControlPlane, kubectl: Kubectl) -> Court:
    """The server, with the policies in force."""
    kubectl("apply", "-k", str(FOLDER))
    court = Court(plane)
    stranger = Request(new=_disowned(one_of("ConfigMap")))
    deadline = time.monotonic() + 30
    while not court.refusals(stranger):  # the server reads new policies about once a second; nothing tells when
        assert time.monotonic() < deadline, "the policies do not come into force"
        time.sleep(0.1)
    return court


def test_the_servers_own_reading_of_the_expressions_finds_no_fault(plane: ControlPlane, court: Court) -> None:
    """A field that does not exist, a comparison of two types: the controller manager says so in the status."""
    names = set(documents("ValidatingAdmissionPolicy"))

    def read(found: dict[str, Object]) -> bool:
        return all(found[name].get("status", {}).get("observedGeneration") for name in names)

    found = watch(plane.client, POLICIES, read, seconds=60)
    for name in names:
        assert found[name]["status"].get("typeChecking", {}) == {}, name


@pytest.mark.parametrize("made", OURS, ids=lambda made: f"{made['kind']}-{made['metadata']['name']}")
def test_what_the_operator_makes_changes_and_deletes_is_taken(court: Court, made: Object) -> None:
    assert court.refusals(Request(new=made)) == ""
    if made["kind"] not in {"Pod", "Secret"}:
        assert court.refusals(Request(new=made, old=made)) == ""
    if made["kind"] not in {"Secret", "TrainingJob"}:
        assert court.refusals(Request(old=made)) == ""


@pytest.mark.parametrize("made", [made for made in OURS if made["kind"] == "Pod"], ids=lambda o: o["metadata"]["name"])
def test_a_restricted_namespace_takes_the_operators_pods(court: Court, made: Object) -> None:
    assert court.refusals(Request(new=made), "restricted") == ""


@pytest.mark.parametrize("namespace", ["team", "trusted"])
@pytest.mark.parametrize("name", sorted(BREACHES))
def test_a_pod_with_more_rights_is_refused_whoever_makes_it(court: Court, name: str, namespace: str) -> None:
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    BREACHES[name](pod)
    trusted = namespace == "trusted"
    ours = refusals(
        Request(
            new=pod, user=SOMEBODY, namespace={"pod-security.kubernetes.io/enforce": "privileged"} if trusted else {}
        )
    )
    said = court.refusals(Request(new=pod, user=SOMEBODY), namespace)
    assert bool(said) == bool(ours), (said, ours)
    assert not ours or "slipway-pods" in said or "is invalid" in said, (said, ours)


@pytest.mark.parametrize("name", sorted(BREACHES))
def test_pod_security_restricted_finds_what_our_check_finds(court: Court, name: str) -> None:
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    BREACHES[name](pod)
    pod["metadata"]["labels"] = {}  # so that no policy of ours speaks first
    said = court.refusals(Request(new=pod, user="ann"), "restricted")
    assert "PodSecurity" in said or "is invalid" in said


@pytest.mark.parametrize("kind", sorted({made["kind"] for made in OURS}))
def test_strangers_objects_are_out_of_reach(court: Court, kind: str) -> None:
    ours, stranger = one_of(kind), _disowned(one_of(kind))
    assert "may write only what belongs" in court.refusals(Request(new=stranger))
    assert "may change and delete only" in court.refusals(Request(old=stranger))
    if kind != "Pod":
        assert "may change and delete only" in court.refusals(Request(new=ours, old=stranger))
        assert "may write only what belongs" in court.refusals(Request(new=stranger, old=ours))


@pytest.mark.parametrize("wrong", [{"immutable": False}, {"immutable": None}, {"type": "slipway.dev/other"}], ids=str)
def test_a_secret_is_a_key(court: Court, wrong: Object) -> None:
    secret = {key: value for key, value in (one_of("Secret") | wrong).items() if value is not None}
    assert "of type Opaque only, and immutable ones" in court.refusals(Request(new=secret))


def test_a_deployment_whose_pods_nobody_would_look_at(court: Court) -> None:
    deployment = one_of("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    labels.pop("slipway.dev/managed")
    deployment["spec"]["selector"]["matchLabels"] = dict(labels)
    assert "carry the label slipway.dev/managed" in court.refusals(Request(new=deployment))


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"spec": {}}, True),
        ({"spec": {"runPolicy": {}}}, True),
        ({"status": {}}, True),
    ],
    ids=["ended", "no policy", "no time to live", "not ended"],
)
def test_a_job_is_deleted_for_its_time_to_live_only(court: Court, changes: Object, refused: bool) -> None:
    merged: Object = {**copy.deepcopy(JOB), **changes}
    merged["spec"] = {"trainer": {"image": "x", "command": ["train"]}, **merged["spec"]}
    said = court.refusals(Request(old=merged))
    assert bool(said) == refused, said
    assert court.refusals(Request(old=merged, user="ann")) == ""


@pytest.mark.parametrize("breach", [b for b in ALL if b.kind in SERVED], ids=lambda b: f"{b.kind}-{b.name}")
def test_a_way_around_is_closed(court: Court, breach: Breach) -> None:
    """By the policy that is there for it, unless the server itself refuses what makes no sense."""
    good, bad = one_of(breach.kind), one_of(breach.kind)
    breach.change(bad)
    said = court.refusals(Request(new=bad, old=good if breach.edits else None))
    assert breach.words in said or "is invalid" in said or "no such key" in said, said


@pytest.mark.parametrize("kind", ["Job", "Deployment", "Pod", "Service", "ConfigMap", "Secret"])
@pytest.mark.parametrize("where", ["kube-system", "slipway-system"])
def test_nothing_of_ours_is_in_a_systems_namespace(court: Court, kind: str, where: str) -> None:
    assert "can be in a system's namespace" in court.refusals(Request(new=one_of(kind)), where)


def test_a_namespace_opens_a_secret_by_its_annotation(court: Court) -> None:
    pod = one_of("Pod")
    pod["spec"]["volumes"].append({"name": "more", "secret": {"secretName": "database"}})
    assert "a Secret that is not open" in court.refusals(Request(new=pod))
    assert court.refusals(Request(new=pod), "open") == ""


def test_others_are_left_alone(court: Court) -> None:
    assert court.refusals(Request(old=_disowned(one_of("ConfigMap")), user="ann")) == ""
    privileged: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    privileged["spec"] = {"containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]}
    assert court.refusals(Request(new=privileged, user="ann")) == ""
