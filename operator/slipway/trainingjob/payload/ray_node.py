"""Ray on the nodes of a job, and on node 0 the user's program, which drives it. Run by gang.py, beside which it lies.

    ray_node.py lead PROGRAM...    node 0: start the head, have the others join it, run PROGRAM, end Ray
    ray_node.py join HEAD          the others, asked by node 0: join the head at this address, and stay
    ray_node.py count NODES        node 0, for itself: wait until Ray knows so many nodes

Ray gives a node 30 s to start, whatever is set, so a start that fails is tried again. Everybody needs the token, which
is the gang's key. Beside Ray only Python's own library is used.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gang  # type: ignore[import-not-found]

ADDRESS = os.environ.get("SLIPWAY_POD_IP", "127.0.0.1")
CPUS = os.environ.get("SLIPWAY_RAY_CPUS", "")
GPUS = os.environ.get("SLIPWAY_RAY_GPUS", "0")
# Two nodes of one machine, as in tests, cannot have the same ports.
SHIFT = int(os.environ.get("SLIPWAY_RAY_SHIFT", "0"))
HEAD_PORT, DASHBOARD_PORT, CLIENT_PORT = 6379, 8265, 10001
NODE_PORTS = {
    "node-manager": 6380,
    "object-manager": 6381,
    "runtime-env-agent": 6382,
    "metrics-export": 6383,
    "dashboard-agent-grpc": 6384,
    "dashboard-agent-listen": 52365,
    "min-worker": 10002,
    "max-worker": 10999,
}
# In which all nodes have to join, and how often new ones of an elastic job are looked for.
START_SECONDS, LOOK_SECONDS = 900.0, 5.0
GRACE_SECONDS = 30.0
TOO_OLD = "this Ray has no token authentication: use an image with ray[default] 2.52 or newer"
MISSING = "the image has no command `ray`: install ray[default] in it"


def located(host: str, port: int) -> str:
    """Address and port as one word."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def start(head: str) -> list[str]:
    """Command that starts Ray on this node and stays; `head` is empty on node 0."""
    ports = [f"--{name}-port={port + SHIFT}" for name, port in NODE_PORTS.items()]
    resources = [f"--num-gpus={GPUS}", *([f"--num-cpus={CPUS}"] if CPUS else [])]
    if head:
        place = [f"--address={located(head, HEAD_PORT)}"]
    else:
        # The dashboard answers on the pod's own loopback alone, where a port-forward comes out.
        dashboard = ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={DASHBOARD_PORT}"]
        place = ["--head", f"--port={HEAD_PORT}", f"--ray-client-server-port={CLIENT_PORT}", *dashboard]
    return ["ray", "start", "--block", *place, f"--node-ip-address={ADDRESS}", *resources, *ports]


class Member:
    """A node of the Ray cluster: the process here that its Ray's life hangs on."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.command = name, command
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def ended(self) -> bool:
        """Tell whether its Ray has ended, or is out of reach."""
        return self.process.poll() is not None

    def again(self) -> None:
        """Start it again where it has ended."""
        if self.ended():
            print(f"Ray on {self.name} ended with {self.process.returncode} before it had joined: again")  # noqa: T201
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        """End it, and wait for that."""
        end(self.process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL after the grace."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def remote(host: str) -> Member:
    """The member on another node, started there by its agent."""
    here = Path(__file__)
    order = f"exec python3 {here} join {ADDRESS}"
    return Member(host, [sys.executable, str(here.with_name("gang.py")), "ssh", host, order])


def others() -> list[str]:
    """Nodes beside this one, as gang.py names them."""
    own = {ADDRESS} if gang.SERVICE else {gang.HOSTS_FILE.read_text(encoding="utf-8").split()[0]}
    return [host for host in gang.members() if host not in own]


def until_joined(members: list[Member], seconds: float) -> bool:
    """Wait until Ray knows all of them. A start that failed is tried again; False when it takes too long."""
    count = [sys.executable, __file__, "count", str(len(members))]
    deadline, counting = time.monotonic() + seconds, subprocess.Popen(count)
    try:
        while (code := counting.poll()) != 0:
            if time.monotonic() > deadline:
                return False
            if code is not None:
                counting = subprocess.Popen(count)
            for member in members:
                member.again()
            time.sleep(1.0)
        return True
    finally:
        end(counting)


def drive(program: list[str], members: list[Member], *, elastic: bool) -> int:
    """Run the program as long as all nodes are there; those of an elastic job come and go, but for node 0."""
    head = located(ADDRESS, HEAD_PORT)
    driver = subprocess.Popen(program, env={**os.environ, "RAY_ADDRESS": head})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: driver.send_signal(got))
    looked = time.monotonic()
    while (code := driver.poll()) is None:
        time.sleep(0.5)
        lost = [member for member in members if member.ended()]
        if lost and (not elastic or lost[0] is members[0]):
            print(f"Ray on {lost[0].name} ended with {lost[0].process.returncode}", file=sys.stderr)  # noqa: T201
            end(driver)
            return 1
        if elastic and time.monotonic() - looked > LOOK_SECONDS:
            members[:] = [member for member in members if member not in lost]
            known = {member.name for member in members}
            members += [remote(host) for host in others() if host not in known and gang.answers(host)]
            looked = time.monotonic()
    return code if code >= 0 else 128 - code


def lead(program: list[str]) -> int:
    """Start all nodes, run the program, end them; returns its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        asked = subprocess.run(["ray", "get-auth-token", "--help"], capture_output=True, check=False)
    except FileNotFoundError:
        print(MISSING, file=sys.stderr)  # noqa: T201
        return 1
    if asked.returncode:
        print(TOO_OLD, file=sys.stderr)  # noqa: T201
        return 1
    members = [Member("node 0", start(""))]
    try:
        members += [remote(host) for host in others()]
        if not until_joined(members, START_SECONDS):
            print(f"not all {len(members)} nodes have joined Ray in {START_SECONDS:.0f} s", file=sys.stderr)  # noqa: T201
            return 1
        return drive(program, members, elastic=bool(gang.SERVICE))
    finally:
        for member in reversed(members):
            member.end()


def count(nodes: int) -> int:
    """Wait until Ray knows so many nodes that live. Its own words about a head that is not there yet help nobody."""
    import ray  # type: ignore[import-not-found,unused-ignore]

    ray.init(address=located(ADDRESS, HEAD_PORT), logging_level="ERROR", log_to_driver=False)
    while sum(bool(node["Alive"]) for node in ray.nodes()) < nodes:
        time.sleep(0.5)
    return 0


def join(head: str) -> int:
    """Become this node's Ray."""
    command = start(head)
    os.execvp(command[0], command)  # noqa: S606


def main(arguments: list[str]) -> int:
    """Command line."""
    what, *rest = arguments
    if what == "lead":
        return lead(rest)
    return join(rest[0]) if what == "join" else count(int(rest[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
