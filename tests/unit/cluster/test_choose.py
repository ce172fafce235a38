"""Which cluster is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.base import ClusterError
from tests.cluster.choose import choose
from tests.cluster.existing import ExistingCluster


@pytest.mark.parametrize(
    ("environment", "kind_works", "name"),
    [
        ({}, False, "local"),
        ({}, True, "kind"),
        ({"KUBE_CONTEXT": ""}, True, "kind"),
        ({"KUBE_CONTEXT": "prod"}, True, "existing"),
        ({"KUBE_CONTEXT": "prod", "SLIPWAY_CLUSTER": "local"}, True, "existing"),
        ({"SLIPWAY_CLUSTER": "local"}, True, "local"),
        ({"SLIPWAY_CLUSTER": "kind"}, False, "kind"),
    ],
)
def test_a_named_context_wins_then_kind_then_local(environment: dict[str, str], kind_works: bool, name: str) -> None:
    assert choose(environment, lambda: kind_works).name == name


def test_an_existing_cluster_says_why_it_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text("contexts: []\nclusters: []\nusers: []\n")
    monkeypatch.setenv("KUBECONFIG", str(config))
    cluster = ExistingCluster("nowhere")
    assert (cluster.kubeconfig, cluster.context) == (config, "nowhere")
    with pytest.raises(ClusterError, match="KUBE_CONTEXT=nowhere does not answer"):
        cluster.up()
    with pytest.raises(ClusterError, match="registry"):
        cluster.load(["localhost/slipway/operator:1"])
