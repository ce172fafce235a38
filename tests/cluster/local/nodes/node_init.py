"""The first process of a node: `unshare` starts it in mount, pid, network and host name namespaces of its own.

It makes itself at home as a plan (JSON, written by node.py) says, then keeps the node's services running and reaps what
is left to it. When it dies the kernel ends every process of the node, and its mounts and network go with them: a power
cut. Runs as a script of its own, with nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_RESTART_AFTER = 1.0


def main(plan: dict[str, Any]) -> None:
    """Set the node up and supervise its services; returns never."""
    socket.sethostname(plan["hostname"])
    _mount(plan)
    _connect(plan["network"])
    running = {}
    for service in plan["services"]:
        running[_start(plan, service)] = service
        for argv in service["then"]:
            _retry(argv)
        if plan["fresh"]:
            for script in service["then_if_fresh"]:
                _run("sh", "-c", script)
    while True:
        pid, status = os.wait()
        service = running.pop(pid, None)
        if service:
            print(f"{service['name']} ended with {os.waitstatus_to_exitcode(status)}, starting it anew", flush=True)
            time.sleep(_RESTART_AFTER)
            running[_start(plan, service)] = service


def _mount(plan: dict[str, Any]) -> None:
    _run("mount", "--make-rshared", "/")
    for target in plan["tmpfs"]:
        Path(target).mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", target)
    for source, target in plan["binds"]:
        Path(source).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", source, target)
    # The kubelet sets these machine-wide; it finds them set already here and leaves the machine's own alone.
    for name, value in plan["sysctls"].items():
        shown = Path("/run/sysctl") / name.replace("/", ".")
        shown.parent.mkdir(exist_ok=True)
        shown.write_text(value)
        with contextlib.suppress(subprocess.CalledProcessError):  # a kernel without this setting
            _run("mount", "--bind", str(shown), f"/proc/sys/{name}")


def _connect(network: dict[str, Any]) -> None:
    while "eth0" not in {name for _, name in socket.if_nameindex()}:
        time.sleep(0.02)  # the machine's side plugs it in once it knows our pid
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for argv in network["commands"]:
        _run(*argv)


def _start(plan: dict[str, Any], service: dict[str, Any]) -> int:
    with (Path(plan["logs"]) / f"{service['name']}.log").open("ab") as log:
        return subprocess.Popen(service["argv"], stdout=log, stderr=log, stdin=subprocess.DEVNULL).pid


def _retry(argv: Sequence[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while subprocess.run(argv, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{argv} never succeeded")
        time.sleep(0.1)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
