"""Start Horovod's processes of this node without horovodrun and without ssh: `horovod_launch.py COMMAND...`.

Ranks follow from the node's number; node 0 also keeps the rendezvous at a fixed port. The first process that fails ends
its siblings, and its exit code is the node's.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HOSTS_FILE = Path(os.environ.get("SLIPWAY_GANG_HOSTS", "/etc/slipway/hosts"))


def rendezvous(hosts: list[str], slots: int, port: int) -> None:
    """Serve what Horovod's processes ask when they start: who is where. For as long as this process lives."""
    server_module = importlib.import_module("horovod.runner.http.http_server")
    hosts_module = importlib.import_module("horovod.runner.common.util.hosts")
    parsed = hosts_module.parse_hosts(",".join(f"{host}:{slots}" for host in hosts))
    server = listening(server_module.RendezvousHTTPServer, port, server_module.RendezvousHandler, 0)
    server.init(hosts_module.get_host_assignments(parsed, len(hosts) * slots))
    threading.Thread(target=server.serve_forever, daemon=True).start()


def listening(kind: Any, port: int, *arguments: Any) -> Any:
    """A server of this class, on all addresses of both families; on IPv4's alone where a node has no IPv6."""

    class DualStack(kind):  # type: ignore[misc]
        address_family = socket.AF_INET6

        def server_bind(self) -> None:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    try:
        return DualStack(("::", port), *arguments)
    except OSError:
        return kind(("0.0.0.0", port), *arguments)  # noqa: S104


def wait_for(host: str, port: int) -> None:
    """Wait until node 0 listens."""
    while True:
        try:
            socket.create_connection((host, port), 5).close()
            return
        except OSError:
            time.sleep(0.5)


def environment(hosts: list[str], index: int, slots: int, local: int, port: int) -> dict[str, str]:
    """Horovod's variables of process `local` of node `index`."""
    numbers = {
        "RANK": index * slots + local,
        "SIZE": len(hosts) * slots,
        "LOCAL_RANK": local,
        "LOCAL_SIZE": slots,
        "CROSS_RANK": index,
        "CROSS_SIZE": len(hosts),
        "GLOO_RENDEZVOUS_PORT": port,
    }
    words = {
        "HOSTNAME": hosts[index],
        "GLOO_RENDEZVOUS_ADDR": "127.0.0.1" if index == 0 else hosts[0],
        "CONTROLLER": "gloo",
        "CPU_OPERATIONS": "gloo",
    }
    return {f"HOROVOD_{name}": str(value) for name, value in {**numbers, **words}.items()}


def first_end(children: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all; the first that fails ends the others. Returns its code, or 0."""
    code = 0
    while any(child.poll() is None for child in children):
        failed = next((child.returncode for child in children if child.returncode), 0)
        if failed and not code:
            code = failed
            for child in children:
                child.terminate()
        time.sleep(0.1)
    code = code or next((child.returncode for child in children if child.returncode), 0)
    return code if code >= 0 else 128 - code


def main(command: list[str]) -> int:
    """Run the node."""
    hosts = HOSTS_FILE.read_text(encoding="utf-8").split()
    index, slots = int(os.environ["SLIPWAY_NODE_INDEX"]), int(os.environ["SLIPWAY_GANG_SLOTS"])
    port = int(os.environ["SLIPWAY_RENDEZVOUS_PORT"])
    if index == 0:
        rendezvous(hosts, slots, port)
    else:
        wait_for(hosts[0], port)
    children = [
        subprocess.Popen(command, env={**os.environ, **environment(hosts, index, slots, local, port)})
        for local in range(slots)
    ]

    def pass_on(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return first_end(children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
