"""No way around the second net: what the operator's account could do in other hands, and what parameters open."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings

from slipway.api.codegen.crd import KINDS
from slipway.api.training.launchers import LauncherName
from slipway.cli.preview import preview
from slipway.config import read_config
from slipway.trainingjob import pods
from slipway.trainingjob.launchers import launcher_of
from tests.unit.api.admission import Admission
from tests.unit.api.generated import specs
from tests.unit.api.manifests import job
from tests.unit.gitops.admission.breaches import ALL, PODS, Breach
from tests.unit.gitops.admission.policy import HOME, Object, Request, refusals
from tests.unit.gitops.admission.test_policy import EXAMPLES, JOB, one_of
from tests.unit.trainingjob.rendered import RECIPE, WITH_STATUS, job_of

OPEN = dict.fromkeys(("serviceAccounts", "secrets", "configMaps", "claims", "imagePullSecrets", "images"), "*")
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}
CONTROLLER = "system:serviceaccount:kube-system:job-controller"


@pytest.mark.parametrize("breach", ALL, ids=lambda breach: f"{breach.kind}-{breach.name}")
def test_a_way_around_is_closed_and_the_object_itself_is_taken(breach: Breach) -> None:
    good, bad = one_of(breach.kind), one_of(breach.kind)
    breach.change(bad)
    before = good if breach.edits else None
    assert refusals(Request(new=good, old=before)) == []
    said = refusals(Request(new=bad, old=before))
    assert any(breach.words in words for words in said), said


@pytest.mark.parametrize("where", ["kube-system", "kube-public", HOME])
@pytest.mark.parametrize("kind", ["Job", "Deployment", "Pod", "Service", "ConfigMap", "Secret"])
def test_nothing_of_ours_is_in_a_systems_namespace(kind: str, where: str) -> None:
    """The way that was gone: a privileged batch Job in kube-system, whose owner's apiVersion begins like ours."""
    there = one_of(kind)
    there["metadata"]["namespace"] = where
    said = refusals(Request(new=there))
    assert any("can be in a system's namespace" in words for words in said), said
    job_there = {**JOB, "metadata": {"name": "digits", "namespace": where}}
    for user in ("ann", "system:admin"):
        assert any("can be in a system's namespace" in words for words in refusals(Request(new=job_there, user=user)))
    assert refusals(Request(new=JOB, user="ann")) == []


def test_a_teams_own_operator_works_where_it_lives() -> None:
    """The overlay namespaced; the account itself is still nobody's by name."""
    for kind in ("Job", "Pod", "Service"):
        there = one_of(kind)
        there["metadata"]["namespace"] = HOME
        assert refusals(Request(new=there, parameters={**OPEN, "ownNamespace": "closed"}))
        assert refusals(Request(new=there, parameters={**OPEN, "ownNamespace": "open"})) == []


def test_namespaces_are_asked_for_by_a_label_where_the_parameters_say_so() -> None:
    parameters = {"namespaceLabel": "slipway.dev/tenant"}
    for kind in ("ConfigMap", "Service"):
        for user, obj in (("system:serviceaccount:slipway-system:slipway-operator", one_of(kind)), ("ann", JOB)):
            for labels, taken in (
                ({"slipway.dev/tenant": "true"}, True),
                ({"slipway.dev/tenant": "no"}, False),
                ({}, False),
            ):
                said = refusals(Request(new=obj, user=user, namespace=labels, parameters=parameters))
                assert (said == []) == taken, said


_NAMED: list[tuple[str, str, Object]] = [
    ("serviceAccounts", "admin", {"serviceAccountName": "admin"}),
    ("secrets", "database", {"volumes": [{"name": "v", "secret": {"secretName": "database"}}]}),
    ("configMaps", "settings", {"volumes": [{"name": "v", "configMap": {"name": "settings"}}]}),
    ("claims", "models", {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "models"}}]}),
    ("imagePullSecrets", "registry", {"imagePullSecrets": [{"name": "registry"}]}),
    ("volumes", "csi", {"volumes": [{"name": "v", "csi": {"driver": "csi.spiffe.io"}}]}),
]


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "Job"])
@pytest.mark.parametrize(("key", "name", "fields"), _NAMED, ids=[key for key, _, _ in _NAMED])
def test_a_name_is_open_where_parameters_or_the_namespace_say_so(
    kind: str, key: str, name: str, fields: Object
) -> None:
    obj = one_of(kind)
    (obj if kind == "Pod" else obj["spec"]["template"])["spec"].update(copy.deepcopy(fields))
    closed = {**OPEN, key: "another,others-*"}
    assert len(refusals(Request(new=obj, parameters=closed))) == 1
    for open_ in (name, f"another,{name}", f"{name[:3]}*") if key != "volumes" else (name,):
        assert refusals(Request(new=obj, parameters={**OPEN, key: open_})) == []
        assert refusals(Request(new=obj, parameters=closed, annotations={f"admission.slipway.dev/{key}": open_})) == []
    # A namespace may be stricter, too.
    none = {f"admission.slipway.dev/{key}": ""}
    assert len(refusals(Request(new=obj, parameters={**OPEN, key: name}, annotations=none))) == 1


def test_images_come_from_where_the_parameters_say() -> None:
    pod = one_of("Pod")
    pod["spec"]["containers"][0]["image"] = "registry.example.com/slipway/trainer@sha256:0"
    for images, taken in (
        ("registry.example.com/*", True),
        ("registry.example.com", False),
        ("registry.example.co*", True),
    ):
        assert (refusals(Request(new=pod, parameters={**OPEN, "images": images})) == []) == taken


def test_a_clouds_token_is_for_the_audience_that_the_parameters_name() -> None:
    pod = one_of("Pod")
    source = {"serviceAccountToken": {"audience": "sts.example.com", "path": "token"}}
    pod["spec"]["volumes"].append({"name": "identity", "projected": {"sources": [source]}})
    audiences = {"audiences": "slipway.dev/status,sts.example.com"}
    for user in ("system:serviceaccount:slipway-system:slipway-operator", CONTROLLER):
        assert len(refusals(Request(new=pod, user=user))) == 1
        assert refusals(Request(new=pod, user=user, parameters={**OPEN, **audiences})) == []


def test_parameters_that_are_missing_stop_us_and_nobody_else() -> None:
    """A policy of everybody's pods with parameters would stop the whole cluster when somebody deletes them."""
    for kind in ("Pod", "Deployment", "Job", "Service"):
        ours = one_of(kind)
        assert refusals(Request(new=ours, parameters=False))
        others = one_of(kind)
        others["metadata"]["labels"] = {"app": "database"}
        assert refusals(Request(new=others, user="ann", parameters=False)) == []
        assert refusals(Request(new=others, old=others, user="ann", parameters=False)) == []
        assert refusals(Request(old=others, user="ann", parameters=False)) == []


def test_a_deployment_is_scaled_whatever_the_parameters_say_by_now() -> None:
    deployment = one_of("Deployment")
    deployment["spec"]["template"]["spec"]["serviceAccountName"] = "team"
    assert len(refusals(Request(new=deployment))) == 1
    scaled = copy.deepcopy(deployment)
    scaled["spec"]["replicas"] = 7
    assert refusals(Request(new=scaled, old=deployment)) == []
    scaled["spec"]["template"]["spec"]["serviceAccountName"] = "admin"
    assert len(refusals(Request(new=scaled, old=deployment))) == 1


def test_what_somebody_made_of_a_service_may_stay() -> None:
    """An owner who opens a Service by hand must not stop the operator from leading it to other pods."""
    opened = one_of("Service")
    opened["spec"].update(type="LoadBalancer", externalIPs=["192.0.2.1"])
    led = copy.deepcopy(opened)
    led["metadata"]["annotations"] = {"a": "b"}
    assert refusals(Request(new=led, old=opened)) == []
    led["spec"]["externalIPs"] = ["192.0.2.2"]
    assert len(refusals(Request(new=led, old=opened))) == 1


def test_a_container_that_is_added_to_debug_is_held_to_the_same() -> None:
    old = one_of("Pod")
    for allowed in (False, True):
        new = copy.deepcopy(old)
        container: Object = {"name": "debug", "image": "busybox"}
        if allowed:
            container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        new["spec"]["ephemeralContainers"] = [container]
        said = refusals(Request(new=new, old=old, user="ann", subresource="ephemeralcontainers"))
        assert (said == []) == allowed, said


@pytest.mark.parametrize("breach", [b for b in PODS if b.kind == "Pod"], ids=lambda breach: breach.name)
def test_what_another_account_makes_of_a_template_was_judged_as_the_template(breach: Breach) -> None:
    """A Job's pods are made by its controller: what they may name is asked of the Job, how they run of both."""
    pod = one_of("Pod")
    breach.change(pod)
    refers = any(words in breach.words for words in ("that is not open", "service account that", "no volume of kind"))
    refers |= breach.words in {"no node past the scheduler", "no priority of the system"}
    assert (refusals(Request(new=pod, user=CONTROLLER)) == []) == refers


OWN = (LauncherName.PLAIN, LauncherName.RAY)


def _launched() -> list[Any]:
    plain = [job_of(launcher=name, numNodes=2) for name in LauncherName]
    built_in = [job_of(launcher=name, numNodes=2, recipe=RECIPE) for name in LauncherName if name not in OWN]
    elastic = [
        job_of(launcher=name, numNodes=2, elasticPolicy={"minNodes": 1, "maxNodes": 3})
        for name in (LauncherName.TORCHRUN, LauncherName.HOROVODRUN)
    ]
    return [*plain, *built_in, *elastic]


@pytest.mark.parametrize("launched", _launched(), ids=lambda job_: f"{job_.spec.launcher}")
def test_what_every_launcher_makes_is_taken(launched: Any) -> None:
    made = [pods.pod(launched, index, 0, WITH_STATUS) for index in (0, 1)]
    made += [pods.service(launched, 0), pods.config_map(launched, WITH_STATUS)]
    made += [pods.secret(launched)] if launcher_of(launched).keyed(launched) else []
    for obj in made:
        assert refusals(Request(new=obj)) == []


def test_an_example_with_a_secret_is_taken_where_its_namespace_opens_it() -> None:
    (path,) = [path for path in EXAMPLES if "secretKeyRef" in path.read_text()]
    document = yaml.safe_load(path.read_text())
    document["spec"].pop("suspend", None)
    document["spec"].get("runPolicy", {}).pop("suspend", None)
    (made,) = preview([document], read_config({}))
    pod = next(obj for obj in made.creates if obj["kind"] == "Pod")
    assert [words[:27] for words in refusals(Request(new=pod))] == ["a Secret that is not open t"]
    assert refusals(Request(new=pod, annotations={"admission.slipway.dev/secrets": "tracker"})) == []


def test_what_prepares_a_server_is_held_to_the_same_and_taken() -> None:
    path = next(path for path in EXAMPLES if path.stem == "inferenceservice")
    document = yaml.safe_load(path.read_text())
    reads = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    place = {"runtimeClassName": "gvisor", "initContainers": [{"name": "fetch", "command": ["sh"], "env": [reads]}]}
    document["spec"]["predictor"].update(pod=place, sharedMemory={"sizeLimit": "1Gi"})
    (made,) = preview([document], read_config({}))
    assert made.problems == []
    deployment = next(obj for obj in made.creates if obj["kind"] == "Deployment")
    (said,) = refusals(Request(new=deployment))
    assert said.startswith("a Secret that is not open")
    assert refusals(Request(new=deployment, annotations={"admission.slipway.dev/secrets": "hub"})) == []


_TRAINING = Admission(KINDS[0])


def _is_taken(spec: Object) -> None:
    (made,) = preview([job(spec)], read_config({}))
    assume(made.creates)
    # The pods of a gang differ in their names only.
    for obj in {obj["kind"]: obj for obj in made.creates}.values():
        assert refusals(Request(new=obj, namespace=PRIVILEGED, parameters=OPEN)) == [], obj


_QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much]
_SPECS = specs(_TRAINING.schema["properties"]["spec"])


@settings(max_examples=10, deadline=None, suppress_health_check=_QUIET)
@given(_SPECS)
def test_all_that_a_spec_can_ask_for_is_taken_where_everything_is_open(spec: Object) -> None:
    _is_taken(spec)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=_QUIET)
@given(_SPECS)
def test_all_that_many_specs_can_ask_for_is_taken(spec: Object) -> None:
    _is_taken(spec)
