"""The machine's side of the cluster's network: one bridge that both nodes hang on, routes to pods and services, NAT.

Each node has a network namespace of its own, so all that kube-proxy and CNI do happens there and vanishes with the
node. What stands here is the whole trace on the machine: `down` takes it away again.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cluster.local.components import SERVICES

BRIDGE = "slipway0"
GATEWAY = "198.51.100.1"  # TEST-NET-2 of RFC 5737: nobody's network
_NODES = "198.51.100.0/24"
PODS = "10.244.0.0/16"
MTU = 1400  # fits through the tunnels that many virtual machines sit behind

_RULES = (
    ("-t", "nat", "POSTROUTING", "-s", _NODES, "!", "-d", _NODES, "!", "-o", BRIDGE, "-j", "MASQUERADE"),
    ("-t", "filter", "FORWARD", "-i", BRIDGE, "-j", "ACCEPT"),
    ("-t", "filter", "FORWARD", "-o", BRIDGE, "-j", "ACCEPT"),
)
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def node_address(index: int) -> str:
    """Return the address of a node on the bridge."""
    return f"198.51.100.{10 + index}"


def pod_range(index: int) -> str:
    """Return the range that a node gives its pods addresses from."""
    return f"10.244.{index}.0/24"


def up(nodes: int, state: Path) -> None:
    """Make the bridge, the routes and the rules, as far as they are missing; `state` keeps what was there before."""
    if not state.exists():
        state.write_text(json.dumps({"ip_forward": _FORWARD.read_text().strip()}))
    _FORWARD.write_text("1")
    if not _ok("ip", "link", "show", BRIDGE):
        _do("ip", "link", "add", BRIDGE, "mtu", str(MTU), "type", "bridge")
    _do("ip", "addr", "replace", f"{GATEWAY}/24", "dev", BRIDGE)
    _do("ip", "link", "set", BRIDGE, "up")
    for index in range(nodes):
        _do("ip", "route", "replace", pod_range(index), "via", node_address(index))
    # The machine reaches services through the first node: its kube-proxy answers for everyone who is routed there.
    _do("ip", "route", "replace", SERVICES, "via", node_address(0))
    for table, name, chain, *rule in _RULES:
        if not _ok("iptables", "-w", table, name, "-C", chain, *rule):
            _do("iptables", "-w", table, name, "-I", chain, *rule)


def plug_in(index: int, pid: int) -> None:
    """Give the network namespace of a process an `eth0` on the bridge. The pair vanishes with that namespace."""
    ours = f"slipway-n{index}"
    _ok("ip", "link", "del", ours)
    _do("ip", "link", "add", ours, "mtu", str(MTU), "type", "veth", "peer", "eth0", "mtu", str(MTU), "netns", str(pid))
    _do("ip", "link", "set", ours, "master", BRIDGE, "up")


def unplug(index: int) -> None:
    """Take a node's plug out; the node does not notice."""
    _do("ip", "link", "set", f"slipway-n{index}", "down")


def replug(index: int) -> None:
    """Put it in again."""
    _do("ip", "link", "set", f"slipway-n{index}", "up")


def down(state: Path) -> None:
    """Take all of it away again; what is gone already is fine."""
    for table, name, chain, *rule in _RULES:
        while _ok("iptables", "-w", table, name, "-D", chain, *rule):
            pass
    _ok("ip", "link", "del", BRIDGE)  # its routes go with it
    if state.exists():
        _FORWARD.write_text(json.loads(state.read_text())["ip_forward"])
        state.unlink()


def _ok(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _do(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
