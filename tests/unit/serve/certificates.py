"""Certificates for tests, made anew with each call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


def pair(name: str = "digits", password: bytes | None = None) -> tuple[bytes, bytes]:
    """A certificate that has signed itself, for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return made.public_bytes(PEM), key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, hidden)


def written(folder: Path, chain: bytes, key: bytes) -> Path:
    """As the kubelet writes a Secret: a folder of its own, to which a link is turned."""
    number = len(list(folder.glob("..[0-9]*")))
    place = folder / f"..{number}"
    place.mkdir(parents=True)
    (place / "tls.crt").write_bytes(chain)
    (place / "tls.key").write_bytes(key)
    turned = folder / "..new"
    turned.symlink_to(place.name)
    turned.rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return folder
