"""What the cluster's DNS server answers, asked over real UDP and TCP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSServer

from tests.cluster.local.dns import Resolver, names, upstream
from tests.ports import free_ports


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ml"}, "spec": spec}


def endpoints(name: str, *addresses: dict[str, str], not_ready: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    subset = {
        "addresses": list(addresses),
        "notReadyAddresses": list(not_ready),
        "ports": [{"name": "rdzv", "port": 29500}],
    }
    return {"metadata": {"name": name, "namespace": "ml"}, "subsets": [subset]}


SERVICES = [
    service("web", clusterIP="10.96.0.7", ports=[{"name": "http", "port": 80, "protocol": "TCP"}]),
    service("gang", clusterIP="None"),
    service("empty", clusterIP="None"),
    service("away", type="ExternalName", externalName="example.org"),
    service("inside", type="ExternalName", externalName="web.ml.svc.cluster.local"),
]
ENDPOINTS = [
    endpoints(
        "gang",
        {"ip": "10.244.0.2", "hostname": "job-node-0"},
        {"ip": "10.244.1.2", "hostname": "job-node-1"},
        {"ip": "10.244.1.3"},
        not_ready=({"ip": "10.244.1.9", "hostname": "late"},),
    )
]


class Elsewhere(BaseResolver):
    """The machine's own name server: knows one name."""

    def resolve(self, request: DNSRecord, handler: Any) -> DNSRecord:
        reply = request.reply()
        if str(request.q.qname) == "example.org.":
            reply.add_answer(RR("example.org", QTYPE.A, rdata=A("203.0.113.1"), ttl=5))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    beyond, chosen = free_ports(2)
    outside = DNSServer(Elsewhere(), address="127.0.0.1", port=beyond)
    outside_tcp = DNSServer(Elsewhere(), address="127.0.0.1", port=beyond, tcp=True)
    resolver = Resolver("127.0.0.1", beyond)
    resolver.names = names(SERVICES, ENDPOINTS)
    udp = DNSServer(resolver, address="127.0.0.1", port=chosen)
    tcp = DNSServer(resolver, address="127.0.0.1", port=chosen, tcp=True)
    for one in (outside, outside_tcp, udp, tcp):
        one.start_thread()
    yield chosen
    for one in (outside, outside_tcp, udp, tcp):
        one.stop()
        one.server.server_close()


def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False) -> tuple[str, list[str]]:
    answer = DNSRecord.parse(DNSRecord.question(name, kind).send("127.0.0.1", port, tcp=tcp, timeout=60))
    return RCODE[answer.header.rcode], [str(r.rdata) for r in answer.rr]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("web.ml.svc.cluster.local", "A", "NOERROR", ["10.96.0.7"]),
        ("WEB.ml.svc.Cluster.Local.", "A", "NOERROR", ["10.96.0.7"]),
        ("web.ml.svc.cluster.local", "AAAA", "NOERROR", []),
        ("gang.ml.svc.cluster.local", "A", "NOERROR", ["10.244.0.2", "10.244.1.2", "10.244.1.3"]),
        ("job-node-1.gang.ml.svc.cluster.local", "A", "NOERROR", ["10.244.1.2"]),
        ("10-244-1-3.gang.ml.svc.cluster.local", "A", "NOERROR", ["10.244.1.3"]),
        ("late.gang.ml.svc.cluster.local", "A", "NXDOMAIN", []),
        ("empty.ml.svc.cluster.local", "A", "NOERROR", []),
        ("ml.svc.cluster.local", "A", "NOERROR", []),
        ("web.other.svc.cluster.local", "A", "NXDOMAIN", []),
        ("_http._tcp.web.ml.svc.cluster.local", "SRV", "NOERROR", ["0 100 80 web.ml.svc.cluster.local."]),
        ("2.1.244.10.in-addr.arpa", "PTR", "NOERROR", ["job-node-1.gang.ml.svc.cluster.local."]),
        ("away.ml.svc.cluster.local", "A", "NOERROR", ["example.org.", "203.0.113.1"]),
        ("inside.ml.svc.cluster.local", "A", "NOERROR", ["web.ml.svc.cluster.local.", "10.96.0.7"]),
        ("example.org", "A", "NOERROR", ["203.0.113.1"]),
        ("example.com", "A", "NXDOMAIN", []),
    ],
)
def test_answers(port: int, name: str, kind: str, code: str, answers: list[str], tcp: bool) -> None:
    assert ask(port, name, kind, tcp=tcp) == (code, answers)


def test_srv_records_of_a_headless_service_name_each_pod(port: int) -> None:
    _, answers = ask(port, "_rdzv._tcp.gang.ml.svc.cluster.local", "SRV")
    assert "0 100 29500 job-node-0.gang.ml.svc.cluster.local." in answers
    assert len(answers) == 3


def test_without_a_name_server_other_names_fail_and_own_names_do_not() -> None:
    resolver = Resolver(None)
    resolver.names = names(SERVICES, ENDPOINTS)
    failed = resolver.resolve(DNSRecord.question("example.org"), None)
    assert RCODE[failed.header.rcode] == "SERVFAIL"
    assert len(resolver.resolve(DNSRecord.question("gang.ml.svc.cluster.local"), None).rr) == 3


def test_the_first_name_server_of_the_machine_is_used(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    assert upstream(conf) is None
    conf.write_text("# nameserver 1.1.1.1\nsearch x\nnameserver 203.0.113.53\nnameserver 203.0.113.54\n")
    assert upstream(conf) == "203.0.113.53"
