"""Answers the cluster's names: services, headless services, the host names of their pods. Debian has no CoreDNS.

Names of jobs' pods come from Endpoints, so a service with publishNotReadyAddresses resolves before its pods are ready:
that is what rendezvous stands on. Every other name goes to the machine's own resolver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnslib import CNAME, PTR, QTYPE, RCODE, RR, SOA, SRV, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSServer

from tests.cluster.rest import Object

ZONE = "cluster.local"
_TTL = 2  # seconds; a restarted gang's pods have new addresses
_UPSTREAM_TIMEOUT = 4.0


@dataclass(frozen=True)
class Names:
    """What the cluster's names stand for: lower-case full names without a final dot."""

    addresses: Mapping[str, list[str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> set[str]:
        """Every name that exists, with the empty ones above them."""
        return {*self.addresses, *self.aliases, *self.ports}


def names(services: Iterable[Object], endpoints: Iterable[Object]) -> Names:
    """Work out every name of the given Service and Endpoints objects."""
    addresses: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    ports: dict[str, list[tuple[int, str]]] = {}
    hosts: dict[str, str] = {}
    backing = {_key(e): e for e in endpoints}
    for service in services:
        spec, name = service["spec"], f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.{ZONE}"
        if spec.get("type") == "ExternalName":
            aliases[name] = spec["externalName"].rstrip(".").lower()
        elif spec.get("clusterIP") not in {None, "", "None"}:
            addresses[name] = [spec["clusterIP"]]
            hosts[spec["clusterIP"]] = name
            for port in spec.get("ports", []):
                ports[_port_name(port, name)] = [(port["port"], name)]
        else:
            for subset in backing.get(_key(service), {}).get("subsets") or []:
                _headless(subset, name, addresses, ports, hosts)
            addresses.setdefault(name, [])
    return Names(addresses, aliases, ports, hosts)


def _headless(
    subset: Object,
    name: str,
    addresses: dict[str, list[str]],
    ports: dict[str, list[tuple[int, str]]],
    hosts: dict[str, str],
) -> None:
    for address in subset.get("addresses") or []:
        ip = address["ip"]
        host = f"{address.get('hostname') or ip.replace('.', '-')}.{name}".lower()
        addresses.setdefault(name, []).append(ip)
        addresses.setdefault(host, []).append(ip)
        hosts[ip] = host
        for port in subset.get("ports") or []:
            ports.setdefault(_port_name(port, name), []).append((port["port"], host))


class Resolver(BaseResolver):  # type: ignore[misc]  # dnslib has no types
    """Answers from `names`, which may be replaced at any time, and asks `upstream` for the rest."""

    def __init__(self, upstream: str | None, port: int = 53) -> None:
        self.names = Names()
        self._upstream = upstream
        self._port = port

    def resolve(self, request: DNSRecord, handler: DNSHandler | None) -> DNSRecord:
        """Answer one request; dnslib calls it in a thread of its own."""
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        if kind == "PTR" and (host := self.names.hosts.get(_reversed(name))):
            return _answer(request, [(name, PTR(f"{host}."))])
        if name == ZONE or name.endswith(f".{ZONE}"):
            return self._own(request, name, kind)
        return self._ask_upstream(request, handler.protocol if handler else "udp")

    def _own(self, request: DNSRecord, name: str, kind: str) -> DNSRecord:
        known = self.names
        if name in known.aliases and kind in {"A", "AAAA", "CNAME"}:
            return self._alias(request, name, known.aliases[name])
        wants = {"A", "ANY"}
        if kind in wants and (addresses := known.addresses.get(name)):
            return _answer(request, [(name, A(ip)) for ip in addresses])
        if kind == "SRV" and name in known.ports:
            return _answer(request, [(name, SRV(0, 100, port, f"{host}.")) for port, host in known.ports[name]])
        reply = request.reply()
        exists = name in known.all or any(full.endswith(f".{name}") for full in known.all)
        reply.header.rcode = RCODE.NOERROR if exists else RCODE.NXDOMAIN
        soa = SOA(f"ns.dns.{ZONE}.", f"hostmaster.{ZONE}.", (1, 7200, 1800, 86400, _TTL))
        reply.add_auth(RR(ZONE, QTYPE.SOA, ttl=_TTL, rdata=soa))
        return reply

    def _alias(self, request: DNSRecord, name: str, target: str) -> DNSRecord:
        reply = _answer(request, [(name, CNAME(f"{target}."))])
        if QTYPE[request.q.qtype] != "CNAME":
            asked = DNSRecord.question(target, QTYPE[request.q.qtype])
            inside = target.endswith(f".{ZONE}")
            further = self._own(asked, target, "A") if inside else self._ask_upstream(asked, "udp")
            reply.add_answer(*further.rr)
        return reply

    def _ask_upstream(self, request: DNSRecord, protocol: str) -> DNSRecord:
        failed = request.reply()
        failed.header.rcode = RCODE.SERVFAIL
        if self._upstream is None:
            return failed
        try:
            answer = request.send(self._upstream, self._port, tcp=protocol == "tcp", timeout=_UPSTREAM_TIMEOUT)
        except OSError:
            return failed
        return DNSRecord.parse(answer)


def serve(resolver: Resolver, address: str) -> None:
    """Answer on UDP and TCP port 53 of `address`, in threads of this process."""
    for tcp in (False, True):
        DNSServer(resolver, address=address, port=53, tcp=tcp, logger=_Silent()).start_thread()


def upstream(resolv_conf: Path = Path("/etc/resolv.conf")) -> str | None:
    """Return the machine's own first name server."""
    lines = [line.split() for line in resolv_conf.read_text().splitlines()] if resolv_conf.exists() else []
    return next((words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"), None)


class _Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def _answer(request: DNSRecord, records: Iterable[tuple[str, Any]]) -> DNSRecord:
    reply = request.reply()
    for name, data in records:
        reply.add_answer(RR(name, getattr(QTYPE, type(data).__name__), ttl=_TTL, rdata=data))
    return reply


def _key(body: Object) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _port_name(port: Object, name: str) -> str:
    return f"_{port.get('name', '')}._{port.get('protocol', 'TCP').lower()}.{name}"


def _reversed(name: str) -> str:
    return ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
