"""Tell gloo and NCCL which interface the node's peers are reached by: `network_interface.py COMMAND...` becomes it.

On the node's own network a host's name often leads to its loopback, where gloo would wait for peers that never come.
The interface is the one that has the pod's address (SLIPWAY_POD_IP), else the one that routes to node 0. What the user
or the image has set stays. Only Python's own library is used, 3.8 and later.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
import sys
from pathlib import Path

# linux/sockios.h
SIOCGIFADDR = 0x8915
ROUTES, ADDRESSES = Path("/proc/net/route"), Path("/proc/net/if_inet6")
ROUTES_V6 = Path("/proc/net/ipv6_route")
# linux/route.h and linux/ipv6_route.h: up; a route that refuses; one to an address of this node itself.
UP, REJECT, LOCAL = 1, 0x0200, 0x80000000
# Variables, and what goes before the name in them: without `=` NCCL would take it for the beginning of one.
VARIABLES = {"GLOO_SOCKET_IFNAME": "", "HOROVOD_GLOO_IFACE": "", "NCCL_SOCKET_IFNAME": "="}


def owner(address: str) -> str:
    """The interface that has this address; "" if none has."""
    wanted = ipaddress.ip_address(address)
    return _owner_of_v6(wanted) if wanted.version == 6 else _owner_of_v4(address)


def _owner_of_v4(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            # An interface without an IPv4 address answers with an error.
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return ""


def _owner_of_v6(wanted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    lines = ADDRESSES.read_text().splitlines() if ADDRESSES.exists() else []
    for fields in map(str.split, lines):
        if ipaddress.IPv6Address(int(fields[0], 16)) == wanted:
            return fields[-1]
    return ""


def route(address: str) -> str:
    """The interface of the narrowest route to an address: also to a second one of an interface's own."""
    return _route_v6(ipaddress.IPv6Address(address)) if ":" in address else _route_v4(address)


def _route_v4(address: str) -> str:
    wanted, found = int(ipaddress.IPv4Address(address)), (-1, "")
    for line in ROUTES.read_text().splitlines()[1:]:
        name, destination, _, flags, _, _, _, mask = line.split()[:8]
        net, bits = (socket.ntohl(int(text, 16)) for text in (destination, mask))
        if int(flags, 16) & UP and wanted & bits == net:
            found = max(found, (bits, name), key=lambda pair: pair[0])
    return found[1]


def _route_v6(wanted: ipaddress.IPv6Address) -> str:
    found = (-1, 0, "")
    for fields in map(str.split, ROUTES_V6.read_text().splitlines() if ROUTES_V6.exists() else []):
        bits, metric, flags = int(fields[1], 16), int(fields[5], 16), int(fields[8], 16)
        net = ipaddress.IPv6Network((int(fields[0], 16), bits), strict=False)
        if flags & UP and not flags & (REJECT + LOCAL) and fields[9] != "lo" and wanted in net:
            # Of equally narrow ones the cheapest.
            found = max(found, (bits, -metric, fields[9]), key=lambda route_: route_[:2])
    return found[2]


def towards(host: str) -> str:
    """The interface with whose address this node would talk to a host; nothing is sent."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as asking:
        asking.connect(place)
        return owner(asking.getsockname()[0])


def choose(own: str, master: str) -> str:
    """The interface, or "" if nothing tells."""
    tries = [(owner, own), (towards, master)]
    if own:
        tries.insert(1, (route, own))
    for ask, address in tries:
        with contextlib.suppress(OSError, ValueError):
            found = ask(address) if address else ""
            if found:
                return found
    return ""


def main(command: list[str]) -> None:
    """Set what is not set, and become the command."""
    found = choose(os.environ.get("SLIPWAY_POD_IP", ""), os.environ.get("MASTER_ADDR", ""))
    if not found:
        print("no interface has this pod's address: set network.socketInterface", file=sys.stderr)  # noqa: T201
    for variable, prefix in VARIABLES.items() if found else ():
        os.environ.setdefault(variable, prefix + found)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
