"""Breaking things on purpose: SIGKILL for a container, from its node's side, as the kernel would send it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.cluster.base import Cluster


def kill_container(cluster: Cluster, pod: dict[str, Any]) -> None:
    """kill -9 every process of the pod's container."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    node = pod["spec"]["nodeName"]
    kill = ["--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", "--all", container]
    if cluster.name == "local":
        from tests.cluster.local.cluster import LocalCluster

        subprocess.run(["ctr", "--address", str(LocalCluster().node(node).store.socket), *kill], check=True)
    elif cluster.name == "kind":
        subprocess.run(["docker", "exec", node, "ctr", *kill], check=True)
    else:
        pytest.skip("needs access to the nodes: the local cluster or kind")
