"""The local cluster is a cluster: pods on two nodes find and reach each other, and a lost node comes back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.base import Cluster
from tests.cluster.images.archive import Single
from tests.cluster.images.transfer import load
from tests.cluster.local import debian
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.rest import ApiError

pytestmark = pytest.mark.timeout(300)
SPACE = "cluster-smoke"
BUSYBOX = "localhost/slipway/busybox:1"
CORE = f"/api/v1/namespaces/{SPACE}"


@pytest.fixture(scope="module")
def cluster(cluster: Cluster) -> Iterator[LocalCluster]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("tries the local cluster, and another one is in use")
    found = cluster
    debian.install(["busybox-static"])
    image = Single(BUSYBOX, {"bin/busybox": "/bin/busybox"}, {})
    load([found.node(f"slipway-node-{i}").store for i in range(2)], image, [BUSYBOX])
    found.client.apply("/api/v1/namespaces", {"metadata": {"name": SPACE}})
    until(lambda: not gone(found, f"{CORE}/serviceaccounts/default"))
    yield found
    found.client.call("DELETE", f"/api/v1/namespaces/{SPACE}")
    until(lambda: gone(found, f"/api/v1/namespaces/{SPACE}"))


@pytest.fixture(scope="module")
def servers(cluster: LocalCluster) -> list[str]:
    """Two web servers under a headless service, one on each node, that never become ready; and a plain service."""
    ports = [{"port": 80, "targetPort": 8080}]
    selector = {"app": "web"}
    headless = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports}
    cluster.client.call("POST", f"{CORE}/services", {"metadata": {"name": "gang"}, "spec": headless})
    plain = {"selector": {"app": "web", "ready": "yes"}, "ports": ports}
    cluster.client.call("POST", f"{CORE}/services", {"metadata": {"name": "web"}, "spec": plain})
    serve = "busybox mkdir -p /tmp/w && echo $HOSTNAME > /tmp/w/index.html && exec busybox httpd -f -p 8080 -h /tmp/w"
    for index in range(2):
        body = pod(f"web-{index}", serve, node=index, gpus=4, labels={"app": "web", "ready": "yes" if index else "no"})
        body["spec"] |= {"hostname": f"web-{index}", "subdomain": "gang"}
        if index == 0:
            never = {"exec": {"command": ["/bin/busybox", "false"]}, "periodSeconds": 3600}
            body["spec"]["containers"][0]["readinessProbe"] = never
        cluster.client.call("POST", f"{CORE}/pods", body)
    return [until(lambda i=i: running(cluster, f"web-{i}"))["status"]["podIP"] for i in range(2)]


def pod(name: str, script: str, *, node: int, gpus: int = 0, labels: dict[str, str] | None = None) -> dict[str, Any]:
    main: dict[str, Any] = {"name": "main", "image": BUSYBOX, "command": ["/bin/busybox", "sh", "-c", script]}
    main["env"] = [{"name": "PATH", "value": "/bin"}]
    if gpus:
        main["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    selector = {"kubernetes.io/hostname": f"slipway-node-{node}"}
    spec = {
        "restartPolicy": "Never",
        "nodeSelector": selector,
        "containers": [main],
        "terminationGracePeriodSeconds": 0,
    }
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
    return found


def running(cluster: LocalCluster, name: str) -> dict[str, Any] | None:
    body = cluster.client.get(f"{CORE}/pods/{name}")
    return body if body["status"]["phase"] == "Running" and body["status"].get("podIP") else None


def ended(cluster: LocalCluster, name: str) -> str | None:
    phase = cluster.client.get(f"{CORE}/pods/{name}")["status"]["phase"]
    return phase if phase in {"Succeeded", "Failed"} else None


def ready(cluster: LocalCluster, node: str) -> bool:
    conditions = cluster.client.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def gone(cluster: LocalCluster, path: str) -> bool:
    try:
        cluster.client.get(path)
    except ApiError as error:
        return error.code == 404
    return False


def kubectl(cluster: LocalCluster, *argv: str) -> str:
    command = ["kubectl", f"--kubeconfig={cluster.kubeconfig}", "-n", SPACE, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_pods_reach_each_other_by_name_across_nodes(cluster: LocalCluster, servers: list[str]) -> None:
    for here, there in ((0, 1), (1, 0)):
        fetch = ["busybox", "wget", "-qO-", f"http://web-{there}.gang.{SPACE}.svc.cluster.local:8080/"]
        assert kubectl(cluster, "exec", f"web-{here}", "--", "/bin/busybox", *fetch[1:]) == f"web-{there}"


def test_a_service_leads_to_ready_pods_from_pods_and_from_the_machine(
    cluster: LocalCluster, servers: list[str]
) -> None:
    until(lambda: cluster.client.get(f"{CORE}/endpoints/web").get("subsets", [{}])[0].get("addresses"))
    ip = cluster.client.get(f"{CORE}/services/web")["spec"]["clusterIP"]
    for here in (0, 1):
        got = kubectl(cluster, "exec", f"web-{here}", "--", "/bin/busybox", "wget", "-qO-", "http://web/")
        assert got == "web-1"
    from_here = subprocess.run(["curl", "-sS", f"http://{ip}/"], capture_output=True, text=True, check=True)
    assert from_here.stdout.strip() == "web-1"


def test_gpus_are_counted(cluster: LocalCluster, servers: list[str]) -> None:
    cluster.client.call("POST", f"{CORE}/pods", pod("greedy", "true", node=0, gpus=1))
    refused = until(lambda: cluster.client.get(f"{CORE}/pods/greedy")["status"].get("conditions"))
    assert "Insufficient nvidia.com/gpu" in refused[0]["message"]
    cluster.client.call("DELETE", f"{CORE}/pods/greedy")


def test_claims_get_volumes_that_both_nodes_share(cluster: LocalCluster) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    cluster.client.call("POST", f"{CORE}/persistentvolumeclaims", {"metadata": {"name": "shared"}, "spec": spec})
    for index, script in enumerate(("echo hello > /data/file", "busybox cat /data/file")):
        body = pod(f"volume-{index}", script, node=index)
        body["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]
        body["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        body["spec"]["containers"][0]["securityContext"] = {"runAsUser": 10001, "runAsNonRoot": True}
        cluster.client.call("POST", f"{CORE}/pods", body)
        assert until(lambda i=index: ended(cluster, f"volume-{i}")) == "Succeeded"
    assert kubectl(cluster, "logs", "volume-1") == "hello"


@pytest.mark.slow
def test_an_isolated_node_runs_on_unseen(cluster: LocalCluster, servers: list[str]) -> None:
    reach = ["curl", "-sS", "-m", "2", f"http://{servers[1]}:8080/"]
    assert subprocess.run(reach, capture_output=True, text=True, check=True).stdout.strip() == "web-1"
    cluster.isolate_node("slipway-node-1")
    try:
        assert subprocess.run(reach, capture_output=True, check=False).returncode
        until(lambda: not ready(cluster, "slipway-node-1"))
    finally:
        cluster.rejoin_node("slipway-node-1")
    assert subprocess.run(reach, capture_output=True, text=True, check=True).stdout.strip() == "web-1"


@pytest.mark.slow
def test_a_node_without_power_is_lost_and_comes_back_with_its_gpus(cluster: LocalCluster) -> None:
    cluster.client.call("POST", f"{CORE}/pods", pod("victim", "exec busybox sleep 1000", node=1))
    until(lambda: running(cluster, "victim"))
    cluster.fail_node("slipway-node-1")
    until(lambda: not ready(cluster, "slipway-node-1"))
    cluster.recover_node("slipway-node-1")
    assert cluster.client.get("/api/v1/nodes/slipway-node-1")["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert until(lambda: ended(cluster, "victim")) == "Failed"
