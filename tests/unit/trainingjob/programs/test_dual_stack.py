"""Programs of the pods on a network of IPv6 alone: each listens on ::1 as on 127.0.0.1, and is reached there."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from slipway.trainingjob.payload import horovod_launch
from tests.ports import free_port

PAYLOAD = Path(horovod_launch.__file__).parent
BOTH = ["::1", "127.0.0.1"]
pytestmark = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


def reach(host: str, port: int, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), 5).close()
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def test_node_0_runs_commands_on_a_node_that_has_ipv6_alone(tmp_path: Path) -> None:
    """The agent bound 0.0.0.0: `ssh` to a node's IPv6 address was refused for ever."""
    (tmp_path / "key").write_text("secret")
    (tmp_path / "hosts").write_text("::1\n")
    env = os.environ | {
        "SLIPWAY_GANG_PORT": str(free_port()),
        "SLIPWAY_GANG_KEY": str(tmp_path / "key"),
        "SLIPWAY_GANG_HOSTS": str(tmp_path / "hosts"),
    }
    env.pop("SLIPWAY_GANG_ADDRESS", None)
    command = [sys.executable, str(PAYLOAD / "gang.py")]
    with subprocess.Popen([*command, "serve"], env=env) as agent:
        try:
            assert all(reach(host, int(env["SLIPWAY_GANG_PORT"])) for host in BOTH)
            for host in ("::1", "me@::1", "[::1]", "127.0.0.1"):
                words = [*command, "ssh", host, "echo there; exit 7"]
                done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
                assert (done.returncode, done.stdout) == (7, "there\n"), done.stderr
        finally:
            agent.terminate()


def test_elastic_discovery_counts_a_node_of_two_families_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gang: ModuleType = importlib.import_module("slipway.trainingjob.payload.gang")
    found = [(socket.AF_INET6, 1, 6, "", ("fd00::7", 1, 0, 0)), (socket.AF_INET, 1, 6, "", ("10.0.0.7", 1))]
    monkeypatch.setattr(gang, "SERVICE", "svc")
    monkeypatch.setattr(gang.socket, "getaddrinfo", lambda *_, **__: found)
    assert gang.members() == ["10.0.0.7"]
    del found[1]
    assert gang.members() == ["fd00::7"]


class Rendezvous(HTTPServer):
    """As Horovod's: an address, a handler, and how much it says."""

    def __init__(self, address: Any, handler: type[BaseHTTPRequestHandler], verbose: int) -> None:
        super().__init__(address, handler)
        self.verbose = verbose


def test_horovods_rendezvous_listens_on_both_families() -> None:
    port = free_port()
    server = horovod_launch.listening(Rendezvous, port, BaseHTTPRequestHandler, 0)
    try:
        assert all(reach(host, port, 1) for host in BOTH)
    finally:
        server.server_close()


def test_torchruns_store_is_reached_on_both_families(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "wait.py").write_text("import sys; sys.stdin.read(); sys.exit(5)")
    command = [
        sys.executable,
        str(PAYLOAD / "rendezvous_store.py"),
        str(port),
        sys.executable,
        str(tmp_path / "wait.py"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as store:
        assert all(reach(host, port) for host in BOTH)
        store.communicate(timeout=60)
    assert store.returncode == 5
