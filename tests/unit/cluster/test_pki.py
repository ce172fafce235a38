"""Certificates verify against their authority, say who they are for, and are kept."""

from __future__ import annotations

import base64
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.cluster.local.pki import Authority, kubeconfig, write_private


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def handshake(authority: Authority, host: str) -> dict[str, object]:
    """Return the client's certificate as the server sees it after a TLS handshake in memory, each side checking."""
    serving = authority.issue("server", "server", hosts=["localhost", "10.96.0.1"])
    user = authority.issue("eve", "eve", ["devs", "ops"])
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca.cert))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(serving.cert, serving.key)
    client = ssl.create_default_context(cafile=str(authority.ca.cert))
    client.load_cert_chain(user.cert, user.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname=host), server.wrap_bio(to_server, to_client, True)]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    return dict(ends[1].getpeercert() or {})


@pytest.mark.parametrize("host", ["localhost", "10.96.0.1"])
def test_both_sides_of_a_connection_verify(authority: Authority, host: str) -> None:
    subject = dict(pair for part in handshake(authority, host)["subject"] for pair in part)  # type: ignore[attr-defined]
    assert subject["commonName"] == "eve"


def test_a_server_is_refused_under_another_name(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority, "elsewhere")


def test_groups_are_organizations(authority: Authority) -> None:
    cert = x509.load_pem_x509_certificate(authority.issue("eve", "eve", ["devs", "ops"]).cert.read_bytes())
    names = cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [n.value for n in names] == ["devs", "ops"]


def test_what_was_made_is_found_again_and_keys_are_private(authority: Authority) -> None:
    pair, tokens = authority.issue("eve", "eve"), authority.signing_key("tokens")
    before = [p.read_bytes() for p in (pair.cert, pair.key, tokens, authority.ca.cert)]
    again = Authority(authority.directory)
    pair, tokens = again.issue("eve", "eve"), again.signing_key("tokens")
    assert [p.read_bytes() for p in (pair.cert, pair.key, tokens, again.ca.cert)] == before
    for key in (pair.key, tokens, again.ca.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_kubeconfig_carries_all_it_needs(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("eve", "eve")
    config = kubeconfig("https://127.0.0.1:1", authority.ca.cert, pair=pair)
    assert base64.b64decode(config["users"][0]["user"]["client-key-data"]) == pair.key.read_bytes()
    path = write_private(tmp_path / "deep" / "kubeconfig", config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    bearer = kubeconfig("https://127.0.0.1:1", authority.ca.cert, token="t")
    assert bearer["users"][0]["user"] == {"token": "t"}
