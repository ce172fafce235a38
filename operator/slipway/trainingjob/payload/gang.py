"""Run commands on the other nodes of a job without ssh: an agent per pod, and stand-ins for what wants to reach them.

    gang.py serve                 each node but 0: obey until node 0 says goodbye
    gang.py lead COMMAND...       node 0: the same, and run COMMAND once all nodes are there; then say goodbye
    gang.py ssh [OPTIONS] HOST COMMAND...   what mpirun, horovodrun and pdsh call instead of ssh
    gang.py hosts                 HOST:SLOTS of the nodes that answer now (elastic Horovod's discovery)

Only who has the job's key is obeyed: the agent sends a number used once, the caller an HMAC-SHA256 of it with the
command. Output comes back in frames: one byte of kind, four of length. Only Python's own library is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PORT = int(os.environ.get("SLIPWAY_GANG_PORT", "29501"))
# Unset: all addresses, IPv6 and IPv4.
ADDRESS = os.environ.get("SLIPWAY_GANG_ADDRESS", "")
KEY_FILE = Path(os.environ.get("SLIPWAY_GANG_KEY", "/var/run/secrets/slipway.dev/gang/key"))
HOSTS_FILE = Path(os.environ.get("SLIPWAY_GANG_HOSTS", "/etc/slipway/hosts"))
SERVICE = os.environ.get("SLIPWAY_GANG_SERVICE", "")
SLOTS = os.environ.get("SLIPWAY_GANG_SLOTS", "1")
LEAST = int(os.environ.get("SLIPWAY_GANG_LEAST", "0"))
OUT, ERR, EXIT = b"o", b"e", b"x"
# A worker that ends because node 0 failed ends after it: the operator blames the pod that failed first.
AFTER_LEADER_SECONDS = 2.0
CALL_SECONDS = 10.0
SSH_FAILED = 255
# ssh's options that take a value.
VALUED = set("BbcDEeFIiJLlmOoPpQRSWw")


def dual_stack() -> bool:
    """Tell whether one socket can listen on IPv6 and IPv4: a node may have IPv6 switched off."""
    if not socket.has_dualstack_ipv6():
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::", 0))
    except OSError:
        return False
    return True


def sign(nonce: bytes, body: bytes) -> str:
    """Proof of the caller: an HMAC of nonce and body by the job's key."""
    return hmac.new(KEY_FILE.read_bytes().strip(), nonce + body, hashlib.sha256).hexdigest()


class Agent(socketserver.ThreadingTCPServer):
    """Listens for the peers of the job; `goodbye` is set with node 0's exit code when it has ended."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        both = not ADDRESS and dual_stack()
        self.address_family = socket.AF_INET6 if both or ":" in ADDRESS else socket.AF_INET
        super().__init__(("::" if both else ADDRESS, PORT), Request)
        self.goodbye = threading.Event()
        self.code = 0

    def server_bind(self) -> None:
        """Bind the socket; one of IPv6 on all addresses takes IPv4 as well, whatever the node's default is."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Request(socketserver.StreamRequestHandler):
    """One call of a peer."""

    server: Agent
    timeout = None

    def handle(self) -> None:
        """Check the caller's proof, then obey."""
        nonce = secrets.token_hex(16).encode()
        self.wfile.write(nonce + b"\n")
        body, proof = self.rfile.readline().strip(), self.rfile.readline().strip()
        if not hmac.compare_digest(sign(nonce, body), proof.decode(errors="replace")):
            return
        asked = json.loads(body)
        if asked["do"] == "run":
            self._run(asked["command"])
        elif asked["do"] == "bye":
            self.server.code = int(asked["code"])
            self.server.goodbye.set()
            self._send(EXIT, b"0")
        else:
            self._send(EXIT, b"0")

    def _run(self, command: str) -> None:
        child = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._lock = threading.Lock()
        pumps = [
            threading.Thread(target=self._pump, args=(kind, stream), daemon=True)
            for kind, stream in ((OUT, child.stdout), (ERR, child.stderr))
        ]
        for thread in (*pumps, threading.Thread(target=self._until_hung_up, args=(child,), daemon=True)):
            thread.start()
        code = child.wait()
        for pump in pumps:
            pump.join(1.0)
        with contextlib.suppress(OSError):
            self._send(EXIT, str(code if code >= 0 else 128 - code).encode())

    def _pump(self, kind: bytes, stream) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        with contextlib.suppress(OSError):
            while data := os.read(stream.fileno(), 65536):
                with self._lock:
                    self._send(kind, data)

    def _until_hung_up(self, child: subprocess.Popen[bytes]) -> None:
        """End the child when the caller hangs up, as sshd does."""
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)

    def _send(self, kind: bytes, data: bytes) -> None:
        self.wfile.write(kind + struct.pack(">I", len(data)) + data)
        self.wfile.flush()


def call(host: str, seconds: float | None, **asked: object) -> int:
    """Ask a node's agent; its output becomes ours. Returns the exit code. Raises OSError when it can't be reached."""
    with socket.create_connection((host, PORT), CALL_SECONDS) as link, link.makefile("rwb") as stream:
        nonce = stream.readline().strip()
        body = json.dumps(asked).encode()
        stream.write(body + b"\n" + sign(nonce, body).encode() + b"\n")
        stream.flush()
        link.settimeout(seconds)
        for kind, data in frames(stream):
            if kind == EXIT:
                return int(data)
            target = sys.stdout if kind == OUT else sys.stderr
            target.buffer.write(data)
            target.flush()
    raise ConnectionError(f"{host} hung up")


def frames(stream) -> Iterator[tuple[bytes, bytes]]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Frames (kind, data) that the agent sends, one by one."""
    while len(head := stream.read(5)) == 5:
        yield head[:1], stream.read(struct.unpack(">I", head[1:])[0])


def answers(host: str) -> bool:
    """Tell whether a node's agent is there."""
    try:
        return call(host, CALL_SECONDS, do="here") == 0
    except OSError:
        return False


def members() -> list[str]:
    """All nodes: those of the host list, or whoever the Service knows."""
    if not SERVICE:
        return HOSTS_FILE.read_text(encoding="utf-8").split()
    try:
        found = socket.getaddrinfo(SERVICE, PORT, type=socket.SOCK_STREAM)
    except OSError:
        return []
    # Of a Service of both families each node has two addresses: it is one node all the same.
    old = {str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET}
    return sorted(old or {str(entry[4][0]) for entry in found})


def ssh(arguments: list[str]) -> int:
    """Parse as ssh does, run on the node, return the command's exit code, or ssh's own 255."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option[-1] in VALUED and len(option) == 2:
            rest.pop(0)
    host, command = rest[0].rpartition("@")[2].strip("[]"), " ".join(rest[1:])
    try:
        return call(host, None, do="run", command=command)
    except OSError as error:
        print(f"no agent on {host}: {error}", file=sys.stderr)  # noqa: T201
        return SSH_FAILED


def lead(command: list[str]) -> int:
    """Serve, wait for the others, run, and tell them how it ended."""
    agent = Agent()
    threading.Thread(target=agent.serve_forever, daemon=True).start()
    while sum(map(answers, names := members())) < (LEAST or len(names)) or not names:
        time.sleep(0.5)
    path = f"{Path(__file__).parent}:{os.environ.get('PATH', os.defpath)}"
    child = subprocess.Popen(command, env={**os.environ, "PATH": path})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: child.send_signal(got))
    code = child.wait()
    code = code if code >= 0 else 128 - code
    for host in members():
        with contextlib.suppress(OSError):
            call(host, CALL_SECONDS, do="bye", code=code)
    return code


def serve() -> int:
    """Obey until node 0 has ended; fail if it failed."""
    agent = Agent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    threading.Thread(target=agent.serve_forever, daemon=True).start()
    while not agent.goodbye.wait(3600):
        pass
    if agent.code:
        time.sleep(AFTER_LEADER_SECONDS)
    return int(agent.code != 0)


def hosts() -> int:
    """Print who answers now."""
    for host in members():
        if answers(host):
            print(f"{host}:{SLOTS}")  # noqa: T201
    return 0


def main(arguments: list[str]) -> int:
    """Command line."""
    what, *rest = arguments
    if what == "ssh":
        return ssh(rest)
    return {"serve": serve, "hosts": hosts}[what]() if what != "lead" else lead(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
