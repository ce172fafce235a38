"""Ports for servers that somebody else will start."""

import random
import socket

# Connections get their own ports from 32768 on (ip_local_port_range) and clusters their NodePorts from 30000 on: a port
# taken there may be gone before its server is up. Seen twice.
_FROM, _TO = 16384, 29000


def free_port() -> int:
    """A port of all addresses that nobody uses, neither by TCP nor by UDP."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    # Not the seeded generator: processes that run side by side must not try the same ports.
    candidates = iter(random.SystemRandom().sample(range(_FROM, _TO), _TO - _FROM))
    return [next(port for port in candidates if _free(port)) for _ in range(count)]


def _free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as probe:
                probe.bind(("", port))
    except OSError:
        return False
    return True
