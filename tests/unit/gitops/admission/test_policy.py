"""The second net takes everything that the operator makes, and holds what RBAC alone would let through."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.cli.preview import preview
from slipway.config import read_config
from slipway.inferenceservice.activator import activator
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.service import AUTOSCALERS, BUDGETS, GRPC_ROUTES, ROUTES, InferenceService, Platform
from slipway.install import yaml_files
from slipway.runtime.client.resource import Resource
from slipway.trainingjob import pod_groups
from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.admission.policy import FOLDER, HOME, Object, Request, cases, documents, refusals
from tests.unit.gitops.build import build, of_kind
from tests.unit.inferenceservice import looks
from tests.unit.trainingjob.pods.test_pod_security import BREACHES
from tests.unit.trainingjob.rendered import WITH_STATUS, job_of, pod_of

EXAMPLES = sorted((REPOSITORY / "manifests" / "examples").glob("*.yaml"))
REVIEWS = "CREATE authorization.k8s.io/subjectaccessreviews"
# As the server stores what the operator leaves to it.
STORED = {"Secret": {"type": "Opaque"}}


def _examples() -> list[Object]:
    """What the operator creates for all examples, by its own plans."""
    given = [document for path in EXAMPLES for document in yaml.safe_load_all(path.read_text())]
    made = [child for one in preview(given, read_config({})) for child in one.creates]
    kinds = {"ConfigMap", "Service", "Secret", "Pod", "Deployment", "Job", "TrainingJob"}
    assert {child["kind"] for child in made} == kinds
    return made


def _service() -> InferenceService:
    spec = {
        "predictor": {"model": {"uri": "pvc://models/digits"}, "resources": {"requests": {"cpu": 1}}},
        "autoScaling": {"minReplicas": 1, "maxReplicas": 3, "scaleMetric": "CPU", "scaleTarget": 70},
    }
    return InferenceService("s", "team", "uid-1", 1, InferenceServiceSpec.model_validate(spec))


def _rare() -> list[Object]:
    """What no example has: autoscaler, budget, activator, and the PodGroups of two schedulers."""
    service = _service()
    assert service.spec.auto_scaling is not None
    gangs = [pod_groups.pod_group(job_of(scheduling={"gang": gang}), 0) for gang in ("Volcano", "Coscheduling")]
    scaler = manifests.autoscaler(service, service.spec.auto_scaling, AUTOSCALERS[0])
    routes = [_route(kind) for kind in (ROUTES[0], GRPC_ROUTES[0])]
    asleep = [
        activator.inner_address(service),
        activator.activator(service, Platform("registry.example.com/slipway/server:1")),
    ]
    budgets = [manifests.budget(service, BUDGETS[0]), activator.budget(service, BUDGETS[0])]
    return [*budgets, scaler, *asleep, *routes, *(group[1] for group in gangs if group)]


def _route(routes: Resource) -> Object:
    """As an example asks for it, where the cluster serves the kind."""
    path = REPOSITORY / "manifests" / "examples" / "inferenceservice-gateway.yaml"
    document = yaml.safe_load(path.read_text())
    document["spec"]["predictor"]["model"] = {"uri": "pvc://models/digits"}
    document["spec"]["rollout"]["gateway"]["grpc"] = {"hostnames": ["grpc.example.com"]}
    metadata = {**document["metadata"], "namespace": "team", "uid": "uid-1", "generation": 1}
    platform = replace(looks.PLATFORM, routes=ROUTES[0], grpc_routes=GRPC_ROUTES[0])
    decided = looks.look({**document, "metadata": metadata}, platform=platform)
    return next(dict(write.manifest) for write in decided.writes if write.resource == routes)


MADE = [copy.deepcopy({**STORED.get(child["kind"], {}), **child}) for child in (*_examples(), *_rare())]
JOB: Object = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "digits", "namespace": "team"},
    "spec": {"runPolicy": {"ttlSecondsAfterFinished": 60}},
    "status": {"completionTime": "2026-01-01T00:00:00Z"},
}


def one_of(kind: str) -> Object:
    return copy.deepcopy(next(made for made in MADE if made["kind"] == kind))


@pytest.mark.parametrize("made", cases(MADE))
def test_what_the_operator_makes_changes_and_deletes_is_taken(made: Object) -> None:
    assert refusals(Request(new=made)) == []
    if made["kind"] not in {"Pod", "Secret"}:
        assert refusals(Request(new=made, old=made)) == []
    # A trial goes with its search, or after its own time.
    if made["kind"] not in {"Secret", "TrainingJob"}:
        assert refusals(Request(old=made)) == []


def test_pods_of_a_service_are_made_by_another_account_and_taken() -> None:
    for deployment in (made for made in MADE if made["kind"] == "Deployment"):
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(deployment["spec"]["template"])}
        assert refusals(Request(new=pod, user="system:serviceaccount:kube-system:replicaset-controller")) == []


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_a_pod_with_more_rights_is_refused_whoever_makes_it(breach: Callable[[Object], None]) -> None:
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    breach(pod)
    assert refusals(Request(new=pod, user="system:serviceaccount:kube-system:replicaset-controller"))


@pytest.mark.parametrize("network", [{"hostNetwork": True}, {"rdma": True}], ids=lambda network: next(iter(network)))
def test_the_nodes_network_and_memory_are_for_privileged_namespaces(network: Object) -> None:
    pod = copy.deepcopy(pod_of(job_of(network=network), platform=WITH_STATUS))
    for port in pod["spec"]["containers"][0]["ports"] if pod["spec"].get("hostNetwork") else []:
        port["hostPort"] = port["containerPort"]  # as the server fills it in
    for level in ("privileged", "baseline", "restricted"):
        said = refusals(Request(new=pod, namespace={"pod-security.kubernetes.io/enforce": level}))
        assert (level == "privileged") == (said == []), said
    assert refusals(Request(new=pod))


@pytest.mark.parametrize(
    "field", [{"runAsNonRoot": False}, {"capabilities": ["SYS_PTRACE"]}], ids=lambda f: next(iter(f))
)
def test_root_and_capabilities_are_for_privileged_namespaces(field: Object) -> None:
    """The policies refused what the field asks for, whatever the namespace enforced."""
    pod = copy.deepcopy(pod_of(job_of(pod=field), platform=WITH_STATUS))
    assert refusals(Request(new=pod, namespace={"pod-security.kubernetes.io/enforce": "privileged"})) == []
    assert refusals(Request(new=pod))
    port = copy.deepcopy(pod_of(job_of(pod={"capabilities": ["NET_BIND_SERVICE"]}), platform=WITH_STATUS))
    assert refusals(Request(new=port)) == []


@pytest.mark.parametrize("name", sorted(BREACHES.keys() - {"host network", "host path", "host port", "may be root"}))
def test_a_privileged_namespace_allows_nothing_else(name: str) -> None:
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    BREACHES[name](pod)
    assert refusals(Request(new=pod, namespace={"pod-security.kubernetes.io/enforce": "privileged"}))


def test_a_folder_of_the_node_is_for_privileged_namespaces() -> None:
    """ClusterTrainingRuntimes give such folders; who may write pods there may mount them anyway."""
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    BREACHES["host path"](pod)
    for level in ("privileged", "baseline", "restricted"):
        said = refusals(Request(new=pod, namespace={"pod-security.kubernetes.io/enforce": level}))
        assert (level == "privileged") == (said == []), said


def test_a_token_for_the_api_server_is_refused() -> None:
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    pod["spec"]["automountServiceAccountToken"] = True
    assert "automountServiceAccountToken" in refusals(Request(new=pod))[0]
    pod = copy.deepcopy(pod_of(job_of(), platform=WITH_STATUS))
    projected = next(volume["projected"] for volume in pod["spec"]["volumes"] if "projected" in volume)
    projected["sources"][0]["serviceAccountToken"]["audience"] = "https://kubernetes.default.svc"
    (words,) = refusals(Request(new=pod))
    assert words.startswith("a token may be for slipway.dev/status only")


def _disowned(made: Object) -> Object:
    stranger = copy.deepcopy(made)
    stranger["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    ]
    return stranger


@pytest.mark.parametrize("kind", sorted({made["kind"] for made in MADE}))
def test_strangers_objects_are_out_of_reach(kind: str) -> None:
    ours, stranger = one_of(kind), _disowned(one_of(kind))
    assert refusals(Request(new=stranger))
    assert refusals(Request(old=stranger))
    if kind != "Pod":
        assert refusals(Request(new=ours, old=stranger))
        assert refusals(Request(new=stranger, old=ours))
    nobody = copy.deepcopy(ours)
    del nobody["metadata"]["ownerReferences"]
    assert refusals(Request(old=nobody))


@pytest.mark.parametrize(
    "wrong", [{"type": "kubernetes.io/service-account-token"}, {"immutable": False}, {"immutable": None}]
)
def test_a_secret_is_a_key_and_nothing_that_the_server_would_fill_in(wrong: Object) -> None:
    secret = {key: value for key, value in (one_of("Secret") | wrong).items() if value is not None}
    assert refusals(Request(new=secret)) == ["the operator may make Secrets of type Opaque only, and immutable ones"]


def test_a_deployment_whose_pods_nobody_would_look_at() -> None:
    deployment = one_of("Deployment")
    deployment["spec"]["template"]["metadata"]["labels"].pop("slipway.dev/managed")
    assert len(refusals(Request(new=deployment))) == 1


def test_a_job_is_deleted_for_its_time_to_live_only() -> None:
    assert refusals(Request(old=JOB)) == []
    for wrong in ({"spec": {"runPolicy": {}}}, {"spec": {}}, {"status": {}}):
        assert refusals(Request(old=JOB | wrong))
    unseen = {key: value for key, value in JOB.items() if key != "status"}
    assert refusals(Request(old=unseen))


def test_others_are_left_alone() -> None:
    stranger = _disowned(one_of("ConfigMap"))
    assert refusals(Request(old=stranger, user="ann")) == []
    assert refusals(Request(old=JOB | {"spec": {}}, user="ann")) == []
    privileged: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    privileged["spec"] = {"containers": [{"name": "x", "securityContext": {"privileged": True}}]}
    assert refusals(Request(new=privileged, user="ann")) == []


def test_every_policy_is_bound_and_fails_closed() -> None:
    policies = documents("ValidatingAdmissionPolicy")
    bindings = documents("ValidatingAdmissionPolicyBinding")
    assert sorted(binding["spec"]["policyName"] for binding in bindings.values()) == sorted(policies)
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings.values())
    assert all(policy["spec"]["failurePolicy"] == "Fail" for policy in policies.values())


_OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}


def test_the_scope_is_what_rbac_gives_and_no_more() -> None:
    """A right that is added to the role, and that no policy knows, is seen here; so is one that is gone."""
    files = (REPOSITORY / "manifests" / "base").glob("rbac*.yaml")
    roles = [doc for path in files for doc in yaml.safe_load_all(path.read_text()) if "rules" in doc]
    given = {
        f"{_OPERATIONS[verb]} {group}/{resource}"
        for rule in (rule for role in roles for rule in role["rules"])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in set(rule["verbs"]) - {"get", "list", "watch"}
        if not resource.endswith("/finalizers")  # never written: the right itself is what admission looks at
    }
    (validation,) = documents("ValidatingAdmissionPolicy")["slipway-operator-scope"]["spec"]["validations"]
    # Reviews of who reads metrics are a component's: manifests/components.
    assert set(re.findall(r"'([A-Z]+ [^']+)'", validation["expression"])) == given | {REVIEWS}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Pod", {"subresource": "exec", "connects": True}),
        ("Pod", {"subresource": "binding"}),
        ("Pod", {"subresource": "ephemeralcontainers"}),
        ("Pod", {"subresource": "eviction"}),
        ("Deployment", {"subresource": "scale"}),
        ("ServiceAccount", {"subresource": "token"}),
        ("ClusterRoleBinding", {}),
        ("Node", {}),
        ("Namespace", {}),
        ("MutatingWebhookConfiguration", {}),
        ("CustomResourceDefinition", {}),
    ],
)
def test_what_rbac_does_not_give_is_refused_should_somebody_bind_it(kind: str, more: Object) -> None:
    obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "labels": {}}}
    obj = copy.deepcopy(one_of(kind)) if kind in {"Pod", "Deployment"} else obj
    said = refusals(Request(new=obj, **more))
    assert any("no business with this resource" in words for words in said), said
    assert refusals(Request(new=obj, user="ann", **more)) == [] or kind == "Pod"


def test_the_lease_is_written_at_home_only() -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "slipway-operator"}}
    for old in (None, lease):
        assert refusals(Request(new=lease, old=old, where=HOME)) == []
        assert refusals(Request(new=lease, old=old, where="kube-system"))
    assert refusals(Request(old=lease, where=HOME))


def test_it_builds_and_needs_nothing_else() -> None:
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ConfigMap")
    for kind in kinds:
        assert {obj["metadata"]["name"]: obj for obj in of_kind(build(FOLDER), kind)} == documents(kind)
    assert {obj["kind"] for obj in build(FOLDER)} == set(kinds)


def test_the_operators_namespace_is_said_once(tmp_path: Path) -> None:
    copied = tmp_path / "policy"
    shutil.copytree(FOLDER, copied)
    parameters = copied / "parameters.yaml"
    parameters.write_text(parameters.read_text().replace(f"namespace: {HOME}", "namespace: ml-platform"))
    assert HOME in (FOLDER / "operator.yaml").read_text()
    assert HOME not in yaml_files.written(build(copied), 120)
