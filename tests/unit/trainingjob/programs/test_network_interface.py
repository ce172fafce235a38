"""Which interface is gloo told on the node's network? By this machine's kernel, and by tables as others have them."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from slipway.trainingjob import pods
from slipway.trainingjob.payload import network_interface
from tests.unit.trainingjob.rendered import PLATFORM, container_of, env_of, job_of

HOST = {"hostNetwork": True}
PAYLOAD = Path(str(files("slipway.trainingjob.payload")))
ROUTES = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
ib0	0000000A	00000000	0001	0	0	0	0000FFFF	0	0	0
down0	0001000A	00000000	0000	0	0	0	00FFFFFF	0	0	0
ib1	0002000A	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""
ADDRESSES = """00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000007 02 40 00 80     eth0
fe80000000000000a00027fffe4e66a1 02 40 20 80     eth0
"""


def run(*command: str, **env: str) -> str:
    words = [sys.executable, str(PAYLOAD / "network_interface.py"), *command]
    inherited = {name: value for name, value in os.environ.items() if name not in network_interface.VARIABLES}
    return subprocess.run(words, env=inherited | env, capture_output=True, text=True, check=True).stdout


def test_it_becomes_the_command_with_the_interface_that_has_the_address() -> None:
    show = "import os; print(os.getpid(), *(os.environ.get(n) for n in ('GLOO_SOCKET_IFNAME', 'NCCL_SOCKET_IFNAME')))"
    words = [sys.executable, str(PAYLOAD / "network_interface.py"), sys.executable, "-c", show]
    child = subprocess.Popen(words, env=os.environ | {"SLIPWAY_POD_IP": "127.0.0.1"}, stdout=subprocess.PIPE, text=True)
    told = child.communicate()[0].split()
    assert told == [str(child.pid), "lo", "=lo"], "signals must reach the trainer itself"


def test_what_the_user_or_the_image_has_set_stays() -> None:
    told = run("env", SLIPWAY_POD_IP="127.0.0.1", GLOO_SOCKET_IFNAME="ib0").splitlines()
    assert {"GLOO_SOCKET_IFNAME=ib0", "NCCL_SOCKET_IFNAME==lo", "HOROVOD_GLOO_IFACE=lo"} <= set(told)


def test_without_an_address_nothing_is_set_and_the_command_runs() -> None:
    assert "IFNAME" not in run("env", SLIPWAY_POD_IP="")


def test_the_interface_of_this_machines_own_address() -> None:
    """As the kernel itself says by another way: the device of the route that has this source address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        if asking.connect_ex(("192.0.2.1", 9)):
            pytest.skip("this machine has no route to anywhere")
        own = asking.getsockname()[0]
    found = network_interface.owner(own)
    assert Path("/sys/class/net", found).exists()
    assert found == network_interface.route("192.0.2.1") == network_interface.towards("192.0.2.1")
    assert found != "lo"
    assert network_interface.owner("203.0.113.7") == ""


@pytest.mark.parametrize(
    ("address", "name"),
    [("10.0.2.9", "ib1"), ("10.0.1.9", "ib0"), ("192.0.2.4", "eth0"), ("8.8.8.8", "eth0")],
    ids=["narrowest", "not one that is down", "own net", "default"],
)
def test_the_narrowest_route(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, name: str) -> None:
    (tmp_path / "route").write_text(ROUTES)
    monkeypatch.setattr(network_interface, "ROUTES", tmp_path / "route")
    assert network_interface.route(address) == name


def test_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "if_inet6").write_text(ADDRESSES)
    monkeypatch.setattr(network_interface, "ADDRESSES", tmp_path / "if_inet6")
    assert network_interface.owner("fd00::7") == "eth0"
    assert network_interface.owner("::1") == "lo"
    assert network_interface.owner("fd00::8") == ""


def test_a_second_address_of_an_interface_is_found_by_its_route(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "route").write_text(ROUTES)
    monkeypatch.setattr(network_interface, "ROUTES", tmp_path / "route")
    assert network_interface.choose("10.0.2.9", "") == "ib1"
    assert network_interface.choose("", "127.0.0.1") == "lo"
    assert network_interface.choose("", "") == ""


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed", "horovodrun", "mpirun"])
def test_the_pods_of_every_launcher_find_it(launcher: str) -> None:
    job = job_of(numNodes=2, launcher=launcher, network=HOST)
    assert container_of(job)["command"][:2] == ["python3", "/etc/slipway/network_interface.py"]
    assert container_of(job)["command"][2:] == container_of(job_of(numNodes=2, launcher=launcher))["command"]
    assert (
        pods.config_map(job, PLATFORM)["data"]["network_interface.py"] == (PAYLOAD / "network_interface.py").read_text()
    )
    assert env_of(job)["SLIPWAY_POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}


@pytest.mark.parametrize(
    "spec",
    [{}, {"network": HOST | {"socketInterface": "eth0"}}, {"network": HOST, "launcher": "plain"}],
    ids=["pod network", "named", "program as it is"],
)
def test_where_nothing_is_to_be_found(spec: dict[str, object]) -> None:
    job = job_of(numNodes=2, **spec)
    assert "network_interface.py" not in " ".join(container_of(job)["command"])
    assert "network_interface.py" not in pods.config_map(job, PLATFORM)["data"]


@pytest.mark.parametrize("path", sorted(PAYLOAD.glob("*.py")), ids=lambda path: path.name)
def test_programs_that_travel_to_the_pods_run_on_python_3_8(path: Path) -> None:
    """gang.py had `float | None` in a signature and `os.environ | ...`: 3.10's and 3.9's."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    if path.name == "__init__.py":
        return
    assert "annotations" in [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names]
    annotations = {id(inner) for node in ast.walk(tree) for outer in _annotations(node) for inner in ast.walk(outer)}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr)]
    assert [n.lineno for n in found if id(n) not in annotations] == []
    newer = {"removeprefix", "removesuffix", "pairwise", "bit_count", "is_relative_to"}
    assert not newer & {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def _annotations(node: ast.AST) -> list[ast.AST]:
    found = [getattr(node, field, None) for field in ("annotation", "returns")]
    return [annotation for annotation in found if isinstance(annotation, ast.AST)]


ROUTES_V6 = """fd000000000000000000000000000000 40 {0} 00 {0} 00000100 00000001 00000000 00000001     eth0
fd000000000000010000000000000000 40 {0} 00 {0} 00000100 00000001 00000000 00000001      ib0
fd000000000000010000000000000000 40 {0} 00 {0} 00000400 00000001 00000000 00000001     slow0
fd000000000000020000000000000000 40 {0} 00 {0} 00000100 00000001 00000000 00000000    down0
fd000000000000030000000000000000 40 {0} 00 {0} 00000100 00000001 00000000 00000201      bad0
00000000000000000000000000000000 00 {0} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 {0} 00 {0} ffffffff 00000001 00000000 00200200       lo
fd000000000000010000000000000009 80 {0} 00 {0} 00000000 00000001 00000000 80200001      ib9
""".format("0" * 32)


@pytest.mark.parametrize(
    ("address", "name"),
    [("fd00:0:0:1::9", "ib0"), ("fd00::7", "eth0"), ("fd00:0:0:2::1", "eth0"), ("fd00:0:0:3::1", "eth0")],
    ids=["narrowest and cheapest", "own net", "not one that is down", "not one that refuses"],
)
def test_the_narrowest_ipv6_route(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, name: str) -> None:
    """The fallback knew IPv4's table alone: a second address of an interface was found on IPv4 only."""
    (tmp_path / "ipv6_route").write_text(ROUTES_V6)
    (tmp_path / "if_inet6").write_text("")
    monkeypatch.setattr(network_interface, "ROUTES_V6", tmp_path / "ipv6_route")
    monkeypatch.setattr(network_interface, "ADDRESSES", tmp_path / "if_inet6")
    assert network_interface.route(address) == network_interface.choose(address, "") == name
