"""Command lines and plans: what each component is told, as far as a wrong word would show late."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import gpus, paths
from tests.cluster.local import components, debian, network, volumes
from tests.cluster.local.components import Site
from tests.cluster.local.nodes import node_init
from tests.cluster.local.nodes.node import Node
from tests.cluster.local.pki import Authority
from tests.cluster.local.release import BOOKWORM

PORTS = {"etcd": 1, "etcd-peer": 2, "controllers": 3, "scheduler": 4, "apiserver": 5}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(debian, "programs", lambda: Path("/programs"))
    return Site(tmp_path, "127.0.0.1", PORTS, Authority(tmp_path / "pki"), BOOKWORM)


def flags(argv: list[str]) -> dict[str, str]:
    return dict(a.removeprefix("--").split("=", 1) for a in argv if a.startswith("--") and "=" in a)


def test_the_components_agree_on_ports_and_keys(site: Site) -> None:
    etcd = flags(components.etcd(site, in_memory=False))
    server = flags(components.apiserver(site, audit_log=None, service_accounts=True, extra=()))
    controllers = flags(components.controller_manager(site, nodes=True, extra=()))
    assert etcd["listen-client-urls"] == server["etcd-servers"]
    assert controllers["service-account-private-key-file"] == server["service-account-key-file"]
    assert controllers["service-cluster-ip-range"] == server["service-cluster-ip-range"]
    assert server["secure-port"] == "5"
    assert Path(server["tls-cert-file"]).exists()


def test_etcd_in_memory_mounts_its_data_before_it_runs(site: Site) -> None:
    argv = components.etcd(site, in_memory=True)
    assert argv[0] == "unshare"
    script = argv[argv.index("-c") + 1]
    assert script.startswith("mount -t tmpfs")
    assert script.endswith('exec "$@"')
    assert (site.directory / "etcd").is_dir()


def test_the_apiserver_is_fit_for_where_it_runs(site: Site, tmp_path: Path) -> None:
    bare = flags(components.apiserver(site, audit_log=None, service_accounts=False, extra=("--v=2",)))
    assert bare["disable-admission-plugins"] == "ServiceAccount"
    assert bare["endpoint-reconciler-type"] == "none"
    assert bare["v"] == "2"
    assert "audit-log-path" not in bare
    elsewhere = Site(tmp_path, "198.51.100.1", PORTS, site.authority, BOOKWORM)
    full = flags(components.apiserver(elsewhere, audit_log=tmp_path / "a", service_accounts=True, extra=()))
    assert "endpoint-reconciler-type" not in full
    policy = yaml.safe_load(Path(full["audit-policy-file"]).read_text())
    assert policy["rules"] == [{"level": "Metadata"}]


def test_pods_are_not_evicted_where_no_kubelet_renews_leases(site: Site) -> None:
    assert "-nodelifecycle" in flags(components.controller_manager(site, nodes=False, extra=()))["controllers"]
    assert (
        flags(components.controller_manager(site, nodes=True, extra=("--kube-api-qps=1000",)))["kube-api-qps"] == "1000"
    )


def test_two_nodes_share_nothing_that_clashes(site: Site) -> None:
    first, second = (Node(index, site, gpus.LABELS) for index in range(2))
    assert first.name == "slipway-node-0"
    assert not set(flags(first.process.argv)) & {"port"}
    for one, other in ((first, second), (second, first)):
        plan = str(one.plan(fresh=True))
        assert str(other.directory) not in plan
        assert network.node_address(other.index) in plan  # the route to the other's pods
    assert first.store.socket != second.store.socket


def test_a_fresh_node_forgets_containers_and_a_recovered_one_keeps_them(site: Site) -> None:
    node = Node(0, site, gpus.LABELS)
    assert node.plan(fresh=True)["fresh"] is True
    assert node.plan(fresh=False)["fresh"] is False
    containerd = node.plan(fresh=True)["services"][0]  # type: ignore[index]
    assert "containers rm" in containerd["then_if_fresh"][0]


def test_node_init_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(node_init.__file__).read_text())
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names)


def claim(**spec: Any) -> dict[str, Any]:
    wanted = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "standard",
    }
    return {"metadata": {"name": "data", "namespace": "ml", "uid": "u1"}, "spec": wanted | spec}


class Recorded:
    """Stands where the API client does, and keeps what would be created."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    def apply(self, collection: str, body: dict[str, Any]) -> None:
        self.created.append(body)


def test_a_claim_of_our_class_gets_a_folder_that_any_user_may_write(tmp_path: Path) -> None:
    client = Recorded()
    others = [claim(storageClassName="fast"), claim(volumeName="bound")]
    volumes.provide(client, tmp_path, [claim(), *others])  # type: ignore[arg-type]
    (made,) = client.created
    assert made["spec"]["claimRef"] == {"kind": "PersistentVolumeClaim", "namespace": "ml", "name": "data", "uid": "u1"}
    assert made["spec"]["accessModes"] == ["ReadWriteMany"]
    assert Path(made["spec"]["hostPath"]["path"]).stat().st_mode & 0o777 == 0o777


def test_a_node_misses_its_gpus_when_labelled_and_without() -> None:
    node: dict[str, Any] = {"metadata": {"labels": gpus.LABELS}, "status": {"allocatable": {}}}
    assert gpus.missing(node)
    node["status"]["allocatable"]["nvidia.com/gpu"] = "0"
    assert gpus.missing(node)
    node["status"]["allocatable"]["nvidia.com/gpu"] = "4"
    assert not gpus.missing(node)
    assert not gpus.missing({"metadata": {}, "status": {}})


def test_kind_makes_two_nodes_with_the_same_labels() -> None:
    config = yaml.safe_load((paths.REPOSITORY / "kind-config.yaml").read_text())
    workers = [n for n in config["nodes"] if n["role"] == "worker"]
    assert [w["labels"] for w in workers] == [gpus.LABELS] * 2
    from tests.cluster import kind

    assert all(w["extraMounts"][0]["containerPath"] == kind.SHARED for w in workers)
