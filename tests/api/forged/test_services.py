"""Forged pods of an InferenceService: nobody asks them for load, evidence or a model, whatever they say they are.

The operator reads real /metrics of real addresses here; who was asked is what each address has heard.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from slipway.api.serving.inferenceservice import spec_problems
from slipway.inferenceservice.service import identify
from slipway.reconcile.source import Pinned
from tests.api.forged.tenant import PODS_ONLY, Tenant, owner
from tests.api.inferenceservice.figures import Figures, Traffic
from tests.api.inferenceservice.services import CONFIGMAPS, DEPLOYMENTS, SERVICES, Town, predictor, revision
from tests.api.stage import PODS, Object, Stage
from tests.cluster.scripted.script import Script

pytestmark = pytest.mark.api
SETS = "/apis/apps/v1/namespaces/{}/replicasets"
SCALING = {"minReplicas": 1, "maxReplicas": 4, "scaleTarget": 1}
# So often is the genuine pod asked while nobody asks a forged one.
TIMES = 2
# Several checkouts may be tried at once on one machine.
_hosts = (f"127.{12 + os.getpid() % 200}.{number}" for number in itertools.count(1))


@pytest.fixture
def genuine() -> Iterator[Figures]:
    with Figures(f"{next(_hosts)}.1") as figures:
        yield figures


@pytest.fixture
def forged() -> Iterator[Figures]:
    with Figures(f"{next(_hosts)}.2") as figures:
        yield figures


@pytest.fixture
def town(stage: Stage, victim: str) -> Town:
    return Town(stage, victim)


def serves(town: Town, name: str, genuine: Figures) -> str:
    """A service that asks its pods for their load; returns its revision."""
    town.stage.scripts[name] = lambda pod: Script(runs_for=None, address=genuine.address)
    town.create(name, autoScaling=SCALING)
    return revision(town.until_ready(name, desired=1, ready=1))


def looks_like_one(town: Town, name: str, found: str) -> dict[str, str]:
    """All labels of a pod of this revision."""
    pods = town.client.get(f"{town.path(PODS)}?labelSelector=slipway.dev/job-name={name}")["items"]
    return next(p["metadata"]["labels"] for p in pods if p["metadata"]["labels"]["slipway.dev/revision"] == found)


def stands(tenant: Tenant, name: str, labels: dict[str, str], address: str, owners: list[Object]) -> None:
    """A pod that is ready at an address of the tenant's, as a pod with any readiness probe soon is."""
    tenant.stage.scripts["nobody"] = lambda pod: Script(unschedulable="its own kubelet tells of it")
    pod = tenant.pod(name, {**labels, "slipway.dev/job-name": "nobody"}, owners)
    ready = {"type": "Ready", "status": "True"}
    tenant.tell(pod, phase="Running", podIP=address, podIPs=[{"ip": address}], conditions=[ready])
    tenant.client.patch(f"{PODS.format(tenant.namespace)}/{name}", {"metadata": {"labels": labels}})


# By whom a forged pod says it is owned.
ABROAD = ("nobody", "service", "deployment", "replica-set")
# Who names the ReplicaSet in its own namespace is a replica for Kubernetes itself: docs/security.md.
AT_HOME = ABROAD[:-1]


def owners_of(town: Town, name: str, found: str) -> dict[str, list[Object]]:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", **town.get(DEPLOYMENTS, f"{name}-{found}")}
    (replicas,) = town.client.get(f"{town.path(SETS)}?labelSelector=slipway.dev/revision={found}")["items"]
    there = [town.get(SERVICES, name), deployment, {"apiVersion": "apps/v1", "kind": "ReplicaSet", **replicas}]
    return {"nobody": [], **{what: [owner(obj)] for what, obj in zip(ABROAD[1:], there, strict=True)}}


def asked_instead(town: Town, tenant: Tenant, name: str, genuine: Figures, ways: Sequence[str]) -> dict[str, int]:
    """How often each forged pod was asked until the genuine one was asked `TIMES` more times."""
    found = serves(town, name, genuine)
    labels, owners = looks_like_one(town, name, found), owners_of(town, name, found)
    with ExitStack() as stack:
        heard = {way: stack.enter_context(Figures(f"{next(_hosts)}.2")) for way in ways}
        for way, figures in heard.items():
            stands(tenant, f"by-{way}", labels, figures.address, owners[way])
        busy = [(figures, {"requests": 10, "seconds": 2.0}) for figures in heard.values()]
        stack.enter_context(Traffic((genuine, {"requests": 1}), *busy))
        genuine.until_asked(TIMES)
        return {way: figures.asked for way, figures in heard.items()}


def test_a_pod_of_another_namespace_is_not_asked(town: Town, stranger: Tenant, name: str, genuine: Figures) -> None:
    assert asked_instead(town, stranger, name, genuine, ABROAD) == dict.fromkeys(ABROAD, 0)
    assert town.status(name)["autoScaling"]["desired"] == 1, "the load was forged"


def test_in_its_own_namespace_a_pod_that_no_replica_set_owns_is_not_asked(
    town: Town, insider: Tenant, name: str, genuine: Figures
) -> None:
    assert asked_instead(town, insider, name, genuine, AT_HOME) == dict.fromkeys(AT_HOME, 0)
    assert town.status(name)["autoScaling"]["desired"] == 1, "the load was forged"


def test_a_model_is_told_by_a_replica_alone(
    town: Town, stranger: Tenant, name: str, genuine: Figures, forged: Figures
) -> None:
    """The forged pod is there before the revision whose it says it is: anybody who reads the spec knows its name."""
    properties = {"digest": "sha256:forged", "engine": "onnxruntime"}
    said = {"name": name, "platform": "onnx_onnxv1", "inputs": [], "outputs": []}
    forged.model = {**said, "properties": properties}
    genuine.model = {**said, "properties": {**properties, "digest": "sha256:genuine"}}
    found = serves(town, name, genuine)
    service = town.get(SERVICES, name)
    service["spec"]["predictor"] = predictor(batching={"maxBatchSize": 8})
    spec, _ = spec_problems(name, service["spec"])
    assert spec is not None
    coming = identify(service, spec).revision(Pinned("pvc://models/digits", ""))
    labels = {**looks_like_one(town, name, found), "slipway.dev/revision": coming}
    stands(stranger, "forged", labels, forged.address, [])
    town.edit(name, predictor=service["spec"]["predictor"])
    told = town.until(name, lambda s: s.get("servedModel", {}).get("revision") == coming)["servedModel"]
    assert told["digest"] == "sha256:genuine"
    assert forged.asked == 0


def test_a_forged_deployment_has_nothing_deleted(town: Town, insider: Tenant, name: str, genuine: Figures) -> None:
    """Its account may make Deployments and delete nothing: the operator once deleted the ConfigMap of its choice."""
    found = serves(town, name, genuine)
    config = {"metadata": {"name": "settings"}, "data": {"of": "somebody else"}}
    town.client.call("POST", town.path(CONFIGMAPS), config)
    insider.may(*PODS_ONLY, {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create"]})
    labels = {**looks_like_one(town, name, found), "slipway.dev/revision": "settings"}
    container = {"name": "c", "image": "x"}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
    }
    about = {"name": "settings", "labels": labels, "ownerReferences": [owner(town.get(SERVICES, name))]}
    insider.client.call("POST", town.path(DEPLOYMENTS), {"metadata": about, "spec": spec})
    town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))
    town.until(name, lambda s: revision(s) != found)
    town.stage.until_gone(town.path(DEPLOYMENTS), f"{name}-{found}")
    town.stage.until_gone(town.path(CONFIGMAPS), f"{name}-{found}")
    assert town.get(CONFIGMAPS, "settings")["data"] == config["data"]
    assert town.get(DEPLOYMENTS, "settings")
