"""A kind cluster as kind-config.yaml says, its workers dressed up as GPU nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import gpus
from tests.cluster.base import ClusterError
from tests.cluster.paths import REPOSITORY, cache
from tests.cluster.rest import Client
from tests.cluster.say import step

SHARED = "/var/slipway-volumes"  # kind-config.yaml mounts one folder of the machine here on both workers


class KindCluster:
    """The kind cluster called `slipway`."""

    name = "kind"
    context = "kind-slipway"

    @property
    def kubeconfig(self) -> Path:
        """Kept apart from the user's own."""
        return cache() / "kind" / "kubeconfig"

    def up(self) -> None:
        """Create the cluster unless it exists, then dress up its nodes. Raises ClusterError."""
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        if "slipway" not in _run("kind", "get", "clusters").split():
            config = REPOSITORY / "kind-config.yaml"
            with step("kind create cluster (about 1 min; longer if it pulls its node image)"):
                _run(*self._kind("create", "cluster", "--wait", "120s"), f"--config={config}", "--name=slipway")
        else:
            _run(*self._kind("export", "kubeconfig"), "--name=slipway")
        client = Client(self.kubeconfig)
        for node in client.get("/api/v1/nodes")["items"]:
            if gpus.missing(node):
                gpus.give(client, node["metadata"]["name"])
        _share_volumes(client)

    def down(self) -> None:
        """Delete the cluster."""
        _run(*self._kind("delete", "cluster"), "--name=slipway")

    def check(self) -> None:
        """Nothing can be wrong before `up`."""

    def load(self, images: Sequence[str]) -> list[str]:
        """Copy images of the Docker engine to the nodes."""
        with step(f"load {', '.join(images)} into kind"):
            _run("kind", "load", "docker-image", "--name=slipway", *images)
        return list(images)

    def unload(self, images: Sequence[str]) -> None:
        """Remove images from the nodes' containerd."""
        for node in _run("kind", "get", "nodes", "--name=slipway").split():
            present = _run("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q").split()
            if found := [i for i in images if i in present]:
                _run("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "rm", *found)

    def status(self) -> list[str]:
        """Return its version and nodes."""
        client = Client(self.kubeconfig)
        return [f"kind: {client.get('/version')['gitVersion']}, {len(client.get('/api/v1/nodes')['items'])} nodes"]

    def _kind(self, *argv: str) -> list[str]:
        return ["kind", *argv, f"--kubeconfig={self.kubeconfig}"]


def _share_volumes(client: Client) -> None:
    """Let kind's own volume provisioner use the folder that both workers share: then ReadWriteMany claims work."""
    config = {"config.json": json.dumps({"sharedFileSystemPath": SHARED})}
    path = "/api/v1/namespaces/local-path-storage"
    if client.get(f"{path}/configmaps/local-path-config")["data"]["config.json"] != config["config.json"]:
        client.patch(f"{path}/configmaps/local-path-config", {"data": config})
        for pod in client.get(f"{path}/pods")["items"]:
            client.call("DELETE", f"{path}/pods/{pod['metadata']['name']}")


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(argv)} failed:\n{done.stderr.strip()}")
    return done.stdout
