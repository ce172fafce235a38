"""Make a certificate and an authority for it, where nobody gave us one. Imported by main only then.

`python -m slipway.runtime.self_signed NAME... | kubectl -n slipway-system create -f -` makes the Secret that lets
running jobs trust each later pod of the operator.

A file of its own because `cryptography` costs 10 MB of memory, which a process with a mounted certificate need not pay.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slipway.runtime.certificate import Certificate

LIFETIME = timedelta(days=3650)
"""The authority's key is thrown away after one use, so nothing could renew the certificate sooner."""

AUTHORITY = "slipway-authority"
SECRET = "slipway-status-tls"  # noqa: S105 (a name)
_PEM = serialization.Encoding.PEM


def certificate(names: tuple[str, ...], now: datetime | None = None) -> Certificate:
    """A fresh certificate for DNS names or IP addresses, signed by an authority whose key nobody keeps."""
    moment = now or datetime.now(UTC)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = (
        _draft(AUTHORITY, authority_key, authority_key, moment)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _draft("slipway-operator", server_key, authority_key, moment)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = server_key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(server.public_bytes(_PEM).decode(), key.decode(), authority.public_bytes(_PEM).decode())


def _draft(
    subject: str, key: ec.EllipticCurvePrivateKey, authority_key: ec.EllipticCurvePrivateKey, moment: datetime
) -> x509.CertificateBuilder:
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(AUTHORITY))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(hours=1))  # for nodes whose clock is behind ours
        .not_valid_after(moment + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issued_by, critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def secret(made: Certificate) -> dict[str, Any]:
    """The Secret that manifests/base/operator.yaml mounts when it is there."""
    files = {"tls.crt": made.chain, "tls.key": made.key, "ca.crt": made.authority}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "labels": {"app.kubernetes.io/name": "slipway-operator"}},
        "data": data,
    }


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:])
    if not wanted:
        sys.exit("usage: python -m slipway.runtime.self_signed slipway-status.slipway-system.svc")
    sys.stdout.write(json.dumps(secret(certificate(wanted)), indent=1))
