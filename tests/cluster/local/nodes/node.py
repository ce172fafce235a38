"""One node of the local cluster: containerd, a kubelet and kube-proxy in Linux namespaces of their own.

What a node keeps lies in one folder: images (they outlive `down`), volumes of pods, logs. Its pid, mount and network
namespaces make it a machine for itself, so two of them share neither ports nor pods, and killing its first process is a
power cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.images.transfer import Store
from tests.cluster.local import debian, network
from tests.cluster.local.components import Site
from tests.cluster.local.nodes import cgroups, node_init, pause
from tests.cluster.local.pki import write_private
from tests.cluster.local.process import Process, end

_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class Node:
    """The node of this index; `site` is the control plane that it joins."""

    index: int
    site: Site
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return f"slipway-node-{self.index}"

    @property
    def directory(self) -> Path:
        """All that it keeps."""
        return self.site.directory / f"node-{self.index}"

    @property
    def process(self) -> Process:
        """The process that holds its namespaces."""
        unshare = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        # Debian's Python and a copy of the script: the same command from every clone of the repository.
        argv = [*unshare, "/usr/bin/python3", str(self.directory / "init.py"), str(self.directory / "plan.json")]
        # A changed plan restarts the node at the next `up`.
        parts = self.plan(fresh=False), self._kubelet_configuration(), _containerd(self.directory, self.store.socket)
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()
        return Process("node", argv, self.directory, env={"PLAN": digest})

    def start(self, *, fresh: bool) -> bool:
        """Start the node unless it runs; `fresh`: it forgets the pods of a former life. True when it was started."""
        if self.process.current():
            return False
        self.stop()
        cgroups.make(self._cgroup)
        self._write()
        write_private(self.directory / "plan.json", self.plan(fresh=fresh))
        shutil.copy(node_init.__file__, self.directory / "init.py")
        self.process.start()
        holder = self.process.pid()
        if holder is None:
            raise RuntimeError(f"{self.name} ended at once:\n{self.process.tail()}")
        network.plug_in(self.index, _only_child(holder))
        return True

    def stop(self) -> None:
        """Cut the power: every process of the node ends, its mounts and its network are gone."""
        holder = self.process.pid()
        if holder is not None:
            # Killed first, the child leaves the holder waiting until the kernel has cleared the whole namespace.
            os.kill(_only_child(holder), signal.SIGKILL)
            end(holder, grace=60)
        self.process.stop()
        cgroups.remove(self._cgroup)

    @property
    def store(self) -> Store:
        """Its images."""
        return Store(self.name, self.directory / "containerd.sock")

    @property
    def _cgroup(self) -> str:
        return f"/slipway/node-{self.index}"

    def plan(self, *, fresh: bool) -> dict[str, object]:
        """Return what node_init.py does: mounts, network, services in their order."""
        ctr = f"ctr --address {self.store.socket} --namespace k8s.io"
        containerd = {
            "name": "containerd",
            "argv": ["containerd", "--config", str(self.directory / "containerd.toml")],
            "then": [[*ctr.split(), "version"]],
            "then_if_fresh": [f"{ctr} containers ls -q | xargs -r {ctr} containers rm"],
        }
        others = [
            {"name": name, "argv": argv, "then": [], "then_if_fresh": []}
            for name, argv in (("kubelet", self._kubelet()), ("kube-proxy", self._kube_proxy()))
        ]
        return {
            "hostname": self.name,
            "fresh": fresh,
            "logs": str(self.directory),
            "tmpfs": ["/run", "/var/lib/cni"],
            # The kubelet's log folders have fixed names, and it deletes those of pods that it does not know.
            "binds": [[str(self.directory / "log"), "/var/log"]],
            "sysctls": _SYSCTLS,
            "network": {"commands": [command.split() for command in self._network_commands()]},
            "services": [containerd, *others],
        }

    def _network_commands(self) -> list[str]:
        pods = network.PODS
        return [
            "ip link set lo up",
            "ip link set eth0 up",
            f"ip addr add {network.node_address(self.index)}/24 dev eth0",
            f"ip route add default via {network.GATEWAY}",
            *(
                f"ip route add {network.pod_range(other)} via {network.node_address(other)}"
                for other in range(2)
                if other != self.index
            ),
            # Pods keep their addresses among each other, and leave the cluster with their node's.
            f"iptables -w -t nat -A POSTROUTING -s {pods} ! -d {pods} -j MASQUERADE",
        ]

    def _kubelet(self) -> list[str]:
        return [
            str(debian.programs() / "kubelet"),
            f"--config={self.directory / 'kubelet.json'}",
            f"--kubeconfig={self.directory / 'kubeconfig-kubelet'}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--cert-dir={self.directory / 'kubelet' / 'pki'}",
            f"--volume-plugin-dir={self.directory / 'kubelet' / 'plugins'}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{self.store.socket}",
            f"--hostname-override={self.name}",
            f"--node-ip={network.node_address(self.index)}",
            f"--node-labels={','.join(f'{k}={v}' for k, v in self.labels.items())}",
            f"--pod-infra-container-image={pause.REFERENCE}",
        ]

    def _kube_proxy(self) -> list[str]:
        return [
            str(debian.programs() / "kube-proxy"),
            f"--kubeconfig={self.directory / 'kubeconfig-kube-proxy'}",
            f"--hostname-override={self.name}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={network.PODS}",
            "--conntrack-max-per-core=0",  # a limit of the whole machine, not a node's to set
        ]

    def _write(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        issue = self.site.authority.issue
        kubelet = issue(
            self.name, f"system:node:{self.name}", ["system:nodes"], hosts=[self.name, network.node_address(self.index)]
        )
        proxy = issue("kube-proxy", "system:kube-proxy")
        folder = self.directory.relative_to(self.site.directory)
        self.site.write_kubeconfig(f"{folder}/kubeconfig-kubelet", pair=kubelet)
        self.site.write_kubeconfig(f"{folder}/kubeconfig-kube-proxy", pair=proxy)
        (self.directory / "containerd.toml").write_text(_containerd(self.directory, self.store.socket))
        (self.directory / "resolv.conf").write_text(f"nameserver {network.GATEWAY}\n")
        (self.directory / "cni").mkdir(exist_ok=True)
        write_private(self.directory / "cni" / "10-slipway.conflist", _cni(network.pod_range(self.index)))
        write_private(self.directory / "kubelet.json", self._kubelet_configuration())

    def _kubelet_configuration(self) -> dict[str, object]:
        pki = self.site.authority.directory
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self.site.authority.ca.cert)},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / f"{self.name}.crt"),
            "tlsPrivateKeyFile": str(pki / f"{self.name}.key"),
            "clusterDNS": [network.GATEWAY],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.directory / "resolv.conf"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self._cgroup,
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            # Images come by `ctr import`, not from a registry: one that is collected would be missing for good.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "64Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "nodeLeaseDurationSeconds": 16,
            # Looks every 2 s, so that a new node is Ready soon; still writes only what changed, or every 5 minutes.
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "5m",
            # With device plugins on, a starting kubelet sets the capacity of resources without one, our GPUs, to zero.
            "featureGates": {"DevicePlugins": False},
        }


def _cni(pods: str) -> dict[str, object]:
    """Connect pods by routed pairs, not a bridge: services work between pods of one node without br_netfilter."""
    ipam = {"type": "host-local", "subnet": pods, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}
    plugins = [{"type": "ptp", "mtu": network.MTU, "ipam": ipam}]
    return {"cniVersion": "0.4.0", "name": "slipway", "plugins": plugins}


def _containerd(directory: Path, address: Path) -> str:
    quoted = {name: json.dumps(str(path)) for name, path in (("root", directory / "containerd"), ("socket", address))}
    return f"""version = 2
root = {quoted["root"]}
state = "/run/containerd"

[grpc]
  address = {quoted["socket"]}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause.REFERENCE}"
  restrict_oom_score_adj = true  # a machine without CAP_SYS_RESOURCE can't lower any process's score

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = {json.dumps(str(directory / "cni"))}

  # How registries are reached: HOST:PORT/hosts.toml below it, read at each pull.
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {json.dumps(str(directory / "registries"))}
"""


def _only_child(pid: int) -> int:
    """Return the process that `unshare` forked: the first one of the node. Waits the moment until it is there."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        while not (found := children.read_text().split()):
            pass
    except FileNotFoundError:
        raise RuntimeError(f"the node's process {pid} ended at once; its log says why") from None
    return int(found[0])
