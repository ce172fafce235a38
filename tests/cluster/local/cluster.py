"""The local cluster: a control plane, two GPU nodes and what Kubernetes leaves to others, on one Debian 12 machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from tests.cluster import gpus, paths
from tests.cluster.base import ClusterError
from tests.cluster.local import debian, network, volumes
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.local.nodes import cgroups, pause
from tests.cluster.local.nodes.node import Node
from tests.cluster.local.process import Process
from tests.cluster.local.release import BOOKWORM
from tests.cluster.rest import ApiError, Client, Object
from tests.cluster.say import expect, say, step

_NODES = 2


class LocalCluster:
    """Two nodes, `slipway-node-0` and `slipway-node-1`. Needs root."""

    name = "local"
    context = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return paths.local() / "kubeconfig"

    @cached_property
    def plane(self) -> ControlPlane:
        """Its control plane."""
        return ControlPlane(
            paths.local(), host=network.GATEWAY, port=6443, scheduler=True, lasting=True, release=BOOKWORM
        )

    @property
    def client(self) -> Client:
        """The administrator's client."""
        return self.plane.client

    def node(self, name: str) -> Node:
        """Return a node by its name. Raises ClusterError."""
        for node in self.nodes():
            if node.name == name:
                return node
        raise ClusterError(f"the local cluster has no node {name}")

    def up(self) -> None:
        """Bring up what does not run. A minute when cached, 10 minutes on a new machine, 2 s when all is healthy."""
        if os.geteuid():
            raise ClusterError("the local cluster needs root: its nodes are real kubelets with real containers")
        if not debian.programs().exists():
            expect(debian.BUILD_SECONDS)
        debian.install([*debian.RUNTIME, *([] if shutil.which("kubectl") else ["kubernetes-client"])])
        debian.kubernetes()
        with paths.lock("local"):
            self._up()
        say(f"the cluster is up: export KUBECONFIG={self.kubeconfig}")

    def _up(self) -> None:
        paths.local().mkdir(exist_ok=True)
        if any(process.pid() is None for process in self._processes()):
            expect({"start the control plane": 8, "start the nodes": 16})
        fresh = not (paths.local() / "etcd").exists()
        network.up(_NODES, self._before)
        with step("start the control plane"):
            self.plane.start()
            self._addons().start()
        with step("start the nodes"):
            self._start_nodes(fresh=fresh)

    def down(self) -> None:
        """End everything; keep the programs and the nodes' images."""
        with paths.lock("local"), step("end the local cluster"):
            for node in self.nodes():
                node.stop()
            cgroups.remove("/slipway")
            self._addons().stop()
            self.plane.stop()
            network.down(self._before)
            for folder in [paths.local(), *(n.directory for n in self.nodes())]:
                _clear(folder)
        del self.plane

    def check(self) -> None:
        """Nothing can be wrong before `up`."""

    def load(self, images: Sequence[str]) -> list[str]:
        """Import images of the local builder into both nodes, only the layers that these lack."""
        from tests.cluster.images import buildah, transfer

        transfer.load([n.store for n in self.nodes()], buildah.storage(), images)
        return list(images)

    def unload(self, images: Sequence[str]) -> None:
        """Remove images from both nodes; what runs from them runs on."""
        for node in self.nodes():
            node.store.remove(images)

    def status(self) -> list[str]:
        """Return a line for each process and each node."""
        lines = []
        for process in self._processes():
            pid = process.pid()
            lines.append(f"{process.directory.name}/{process.name}: {f'runs, pid {pid}' if pid else 'ended'}")
        try:
            for body in self.client.get("/api/v1/nodes")["items"]:
                name, gpu = body["metadata"]["name"], body["status"]["capacity"].get(gpus.RESOURCE, "0")
                lines.append(f"{name}: {'Ready' if _ready(body) else 'not ready'}, {gpu} GPUs")
        except (ApiError, OSError) as error:
            lines.append(f"the API server does not answer: {error}")
        return lines

    def fail_node(self, name: str) -> None:
        """Cut the power of a node: kubelet, containerd and every container are gone at once."""
        self.node(name).stop()

    def isolate_node(self, name: str) -> None:
        """Cut a node off the network: its pods run on, unseen, and nobody reaches them or it."""
        network.unplug(self.node(name).index)

    def rejoin_node(self, name: str) -> None:
        """Connect an isolated node again and wait until it is Ready."""
        network.replug(self.node(name).index)
        self._await_node(name)

    def recover_node(self, name: str) -> None:
        """Boot a failed node again, with the disk it had, and wait until it is Ready."""
        self.node(name).start(fresh=False)
        self._await_node(name)

    def _await_node(self, name: str) -> None:
        self._await_ready(lambda body: body["metadata"]["name"] != name or _ready(body), f"{name} is not Ready")

    @property
    def _before(self) -> Path:
        return paths.local() / "machine-before.json"

    def nodes(self) -> list[Node]:
        return [Node(index, self.plane.site, gpus.LABELS) for index in range(_NODES)]

    def _processes(self) -> list[Process]:
        return [*self.plane.processes(), self._addons(), *(n.process for n in self.nodes())]

    def _addons(self) -> Process:
        code = "".join(p.read_text() for p in sorted(Path(__file__).parent.rglob("*.py")))
        arguments = [self.kubeconfig, paths.local() / "volumes", network.GATEWAY]
        return Process(
            "addons",
            [sys.executable, "-m", "tests.cluster.local.addons", *map(str, arguments)],
            paths.local(),
            env={"PYTHONPATH": str(paths.REPOSITORY), "CODE": hashlib.sha256(code.encode()).hexdigest()},
        )

    def _start_nodes(self, *, fresh: bool) -> None:
        started = [node.start(fresh=fresh) for node in self.nodes()]
        for node in self.nodes():
            if any(started):
                _await_socket(node.store.socket)
                pause.load(node.store)
        self.client.apply("/apis/storage.k8s.io/v1/storageclasses", volumes.CLASS)
        self._await_ready(lambda body: _ready(body) and not gpus.missing(body), "not every node is Ready with its GPUs")

    def _await_ready(self, good: Callable[[Object], bool], complaint: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while True:
            nodes = self.client.get("/api/v1/nodes")["items"]
            if len(nodes) >= _NODES and all(good(n) for n in nodes):
                return
            if time.monotonic() > deadline:
                logs = "\n".join(f"{n.directory / 'kubelet.log'}" for n in self.nodes())
                raise ClusterError(f"{complaint} after {seconds:.0f} s; look into\n{logs}")
            time.sleep(0.2)


def _clear(folder: Path) -> None:
    """Delete what a folder holds, except the nodes' own folders and, in these, the images."""
    for entry in folder.iterdir() if folder.exists() else ():
        if not entry.is_dir():
            entry.unlink()
        elif not entry.name.startswith("node-") and entry.name != "containerd":
            shutil.rmtree(entry)


def _ready(node: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))


def _await_socket(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(path))
            return
        except OSError:
            if time.monotonic() > deadline:
                raise ClusterError(f"containerd does not answer on {path}; see the log beside it") from None
            time.sleep(0.05)
