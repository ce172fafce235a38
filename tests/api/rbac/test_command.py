"""`slipway` for a tenant with few rights: it shows what may be read, where kubectl itself ends at the first refusal."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from slipway.cli.app import app
from tests.api.rbac.conftest import Guarded
from tests.cluster.rest import Client
from tests.needs import need

pytestmark = pytest.mark.api
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}"


def allow(client: Client, namespace: str, user: str, *kinds: str) -> None:
    rule = {"apiGroups": ["slipway.dev"], "resources": list(kinds), "verbs": ["get", "list"]}
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    role = {"metadata": {"name": user}, "rules": [rule, pods]}
    client.call("POST", RBAC.format(namespace) + "/roles", role)
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
    client.call("POST", RBAC.format(namespace) + "/rolebindings", binding)


def test_a_tenant_who_may_read_one_kind_of_five(guarded: Guarded) -> None:
    need("kubernetes-client", shutil.which("kubectl"))
    plane = guarded.stage.plane
    namespace = guarded.stage.namespace("team-of-few-rights")
    guarded.stage.create(namespace, "theirs", runPolicy={"suspend": True})
    allow(plane.client, namespace, "tim", "trainingjobs")

    def slipway(user: str, *words: str) -> tuple[int, str]:
        options = ["--kubeconfig", str(plane.kubeconfig_for_user(user)), "--namespace", namespace]
        result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*words, *options])
        return result.exit_code, result.output

    code, text = slipway("tim", "list", "--output", "name")
    assert (code, text) == (0, "tj/theirs\n")
    code, text = slipway("tim", "status", "theirs", "--output", "json")
    assert code in {0, 3}, text
    assert json.loads(text)["name"] == "theirs"
    code, text = slipway("stranger", "list")
    assert code == 5
    assert "forbidden" in text
