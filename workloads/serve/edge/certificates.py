"""The server's certificate: files of a Secret, read again when they change, for HTTP, gRPC and copies of requests.

A certificate that is replaced holds for new connections; one that makes no sense, or whose key is another's, leaves the
last one in place. Nothing of a key is logged.
"""

import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from workloads.errors import BadInput

LOG = logging.getLogger("slipway.serve.certificates")

# The kubelet itself takes a minute to bring a changed Secret.
LOOK_SECONDS = 2.0
CHAIN, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"


@dataclass(frozen=True)
class Pair:
    """Key pair for TLS: a certificate with those above it, and its private key."""

    chain: bytes
    key: bytes


class Certificates:
    """Certificates of one folder. BadInput when it holds none that can be used at the start."""

    def __init__(self, place: Path, secret: str = "", look_seconds: float = LOOK_SECONDS) -> None:
        """`secret`: its name, for people."""
        self._place = place
        self._pause = look_seconds
        self._looked = time.monotonic()
        self._trusted: tuple[Pair, ssl.SSLContext] | None = None
        try:
            self.pair, self._context, self._grpc = self._read()
        except ValueError as error:
            raise BadInput(f"tls.secretRef: the Secret {secret or place}: {error}") from None

    def context(self) -> ssl.SSLContext:
        """TLS context for the next connection over HTTP, with the newest certificate."""
        self._look()
        return self._context

    def grpc_context(self) -> ssl.SSLContext:
        """The same for the next connection over gRPC."""
        self._look()
        return self._grpc

    def current(self) -> Pair:
        """Newest certificate and key."""
        self._look()
        return self.pair

    def trust(self) -> ssl.SSLContext:
        """TLS context for a client of another revision, which has the same certificate, or one of the same issuer.

        Its name is not looked at: certificates are for the service's names, not for those of its revisions.
        """
        if self._trusted is not None and self._trusted[0] == self.current():
            return self._trusted[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.pair.chain.decode())
        authority = self._place / AUTHORITY
        if authority.is_file() and authority.stat().st_size:
            context.load_verify_locations(authority)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._trusted = self.pair, context
        return context

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < self._pause:
            return
        self._looked = now
        try:
            pair, context, grpc = self._read()
        except ValueError as error:
            LOG.warning("the certificate before is kept: %s", error)
            return
        if pair != self.pair:
            LOG.info("there is a new certificate")
            self.pair, self._context, self._grpc = pair, context, grpc

    def _read(self) -> tuple[Pair, ssl.SSLContext, ssl.SSLContext]:
        """ValueError in words. Both files of one folder: the kubelet changes the link to it, not the files."""
        chain, key = ((self._place / CHAIN).resolve(), (self._place / KEY).resolve())
        try:
            pair = Pair(chain.read_bytes(), key.read_bytes())
        except OSError:
            raise ValueError(
                f"it is missing, or has no {CHAIN} and {KEY}: make one of type kubernetes.io/tls"
            ) from None
        try:
            return pair, _context(chain, key, "http/1.1"), _context(chain, key, "h2")
        except (OSError, ValueError) as error:
            raise ValueError(_words(error, pair)) from None


def _context(chain: Path, key: Path, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    # An encrypted key would ask at a terminal.
    context.load_cert_chain(chain, key, password="")
    return context


def _words(error: Exception, pair: Pair) -> str:
    reason = str(getattr(error, "reason", "") or "")
    if "MISMATCH" in reason:
        return f"{KEY} is not the key of the first certificate in {CHAIN}: put the two that belong together into it"
    if b"ENCRYPTED" in pair.key:
        return f"{KEY} is encrypted: write it without a password"
    return f"{CHAIN} or {KEY} cannot be read as PEM ({reason or error}): put the server's own certificate first"
