"""One operator for several namespaces: it works in each, in no other, and goes on where one of them refuses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.operators import Operator
from tests.api.stage import JOBS, PATIENCE, Stage
from tests.api.watching import watch
from tests.cluster.paths import REPOSITORY

pytestmark = pytest.mark.api
RBAC = "/apis/rbac.authorization.k8s.io/v1"
RUN = {"trainer": {"image": "x", "command": ["train"]}}


def seen(job: dict[str, Any]) -> bool:
    return bool((job.get("status") or {}).get("observedGeneration", -1) != -1)


@pytest.fixture
def homes(stage: Stage, name: str) -> list[str]:
    """Two namespaces that are watched, and one that is not."""
    return [stage.namespace(f"{name}-{place}") for place in ("a", "b", "elsewhere")]


def test_it_works_in_each_namespace_of_the_list_and_in_no_other(
    stage: Stage, homes: list[str], operators: Callable[..., Operator]
) -> None:
    operators(",".join(homes[:2])).ready()
    for namespace in homes:
        stage.create(namespace, "job")
    for namespace in homes[:2]:
        stage.until_running(namespace, "job")
    assert not seen(stage.job(homes[2], "job"))
    assert stage.requests(f"/namespaces/{homes[2]}/") == []


class Account:
    """A service account with the operator's role in the namespaces where it is bound."""

    def __init__(self, stage: Stage, home: str) -> None:
        self.stage, self.home, self.role = stage, home, f"{home}-role"
        stage.plane.client.call("POST", f"/api/v1/namespaces/{home}/serviceaccounts", {"metadata": {"name": "op"}})
        rules = [
            rule
            for document in yaml.safe_load_all((REPOSITORY / "manifests/base/rbac.yaml").read_text())
            if document["kind"] == "ClusterRole"
            for rule in document["rules"]
        ]
        stage.plane.client.call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": self.role}, "rules": rules})
        # What has no namespace.
        self._bind(f"{RBAC}/clusterrolebindings", self._cluster_role())

    def end(self) -> None:
        """Its rights in the whole cluster."""
        names = (self.role, f"{self.role}-cluster")
        self.stage.remove(f"{RBAC}/clusterrolebindings/{names[1]}", *(f"{RBAC}/clusterroles/{name}" for name in names))

    def bind(self, namespace: str) -> None:
        self._bind(f"{RBAC}/namespaces/{namespace}/rolebindings", self.role)

    def release(self, namespace: str) -> None:
        self.stage.delete(f"{RBAC}/namespaces/{namespace}/rolebindings", self.role)

    def kubeconfig(self) -> Path:
        return self.stage.plane.kubeconfig_for_service_account(self.home, "op")

    def _cluster_role(self) -> str:
        rules = [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        ]
        body = {"metadata": {"name": f"{self.role}-cluster"}, "rules": rules}
        self.stage.plane.client.call("POST", f"{RBAC}/clusterroles", body)
        return f"{self.role}-cluster"

    def _bind(self, collection: str, role: str) -> None:
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        subject = {"kind": "ServiceAccount", "name": "op", "namespace": self.home}
        body = {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]}
        self.stage.plane.client.call("POST", collection, body)


@pytest.fixture
def account(stage: Stage, homes: list[str]) -> Iterator[Account]:
    """At home where nobody watches."""
    found = Account(stage, homes[2])
    yield found
    found.end()


def test_a_namespace_that_takes_the_rights_away_does_not_stop_the_others(
    stage: Stage, homes: list[str], account: Account, operators: Callable[..., Operator]
) -> None:
    """Whoever is admin of a namespace may delete the RoleBinding there: one team would have stopped everybody's."""
    ours, theirs, _ = homes
    account.bind(ours)
    operator = operators(f"{theirs},{ours}", account.kubeconfig())
    operator.ready(60 * PATIENCE)
    stage.create(ours, "job")
    stage.create(theirs, "job")
    stage.until_running(ours, "job")
    assert not seen(stage.job(theirs, "job"))
    assert f"namespace {theirs} is left alone" in operator.tail() or theirs in operator.log.read_text()
    account.bind(theirs)
    watch(stage.plane.client, JOBS.format(theirs), lambda all_: seen(all_["job"]), seconds=90 * PATIENCE)
    assert operator.running()
    operator.kill()


def test_the_only_namespace_refused_is_an_error(
    homes: list[str], account: Account, operators: Callable[..., Operator]
) -> None:
    operator = operators(homes[0], account.kubeconfig())
    assert operator.process.wait(60 * PATIENCE) != 0
    assert 'cannot list resource \\"trainingjobs\\"' in operator.log.read_text() or "cannot list" in operator.tail()
