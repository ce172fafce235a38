"""Certificate of the progress endpoint, and the authority that pods trust for it. Used by main at start.

`from_directory` takes a mounted Secret with tls.crt, tls.key and ca.crt, as cert-manager writes it: it outlives the
process and is shared by all replicas, so the CA in the jobs' ConfigMaps stays right over restarts. That is the way to
run it. Without one, `self_signed.certificate` makes a pair, which lives as long as the pod.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slipway.runtime.tls import load_pair


class CertificateError(Exception):
    """The files do not make a usable certificate; the message names them."""


class CertificateChangedError(Exception):
    """The mounted certificate was renewed; a process that starts anew uses it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """All in PEM. `chain` is the server's certificate with any intermediates, `authority` what pods trust."""

    chain: str
    key: str = field(repr=False)
    authority: str

    def context(self) -> ssl.SSLContext:
        """TLS context for a server, TLS 1.2 or newer. Raises CertificateError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client could have us do the costly half of a handshake again and again on one connection.
        context.options |= ssl.OP_NO_RENEGOTIATION
        # Each connection is used once; nobody comes back with a ticket.
        context.num_tickets = 0
        try:
            load_pair(context, self.chain.encode(), self.key.encode())
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(f"certificate and key do not go together: {error}") from error
        return context


def from_directory(directory: Path) -> Certificate | None:
    """The mounted certificate, or None if the directory has none. Raises CertificateError if it is incomplete."""
    names = ("tls.crt", "tls.key", "ca.crt")
    if not any((directory / name).is_file() for name in names):
        return None
    try:
        chain, key, authority = ((directory / name).read_text() for name in names)
    except (OSError, UnicodeDecodeError) as error:
        raise CertificateError(f"{directory} needs tls.crt, tls.key and ca.crt: {error}") from error
    return Certificate(chain, key, authority)


def store(certificate: Certificate, directory: Path) -> None:
    """Leave it where `from_directory` finds it. The key comes first and for our eyes only; raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    key = directory / "tls.key"
    key.touch(mode=0o600)
    key.write_text(certificate.key)
    (directory / "tls.crt").write_text(certificate.chain)
    (directory / "ca.crt").write_text(certificate.authority)


def obtain(mounted: Path, made: Path, make: Callable[[], Certificate]) -> Certificate:
    """The mounted one; else the one this pod made before; else a new one, left in `made` for the next container."""
    found = from_directory(mounted) or from_directory(made)
    if found is None:
        found = make()
        store(found, made)
    return found


async def until_renewed(mounted: Path, used: Certificate, seconds: float = 60) -> None:
    """Look every `seconds`; raises CertificateChangedError when a complete certificate that is not `used` is there."""
    while True:
        await asyncio.sleep(seconds)
        try:
            found = from_directory(mounted)
        except CertificateError:  # halfway through an exchange
            continue
        if found not in (None, used):
            raise CertificateChangedError(f"{mounted} holds a new certificate: starting anew with it")
