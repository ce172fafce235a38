"""A certificate that Python's own strict client accepts, and the words when a mounted one is no good."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest

from slipway.runtime.certificate import (
    Certificate,
    CertificateChangedError,
    CertificateError,
    from_directory,
    obtain,
    until_renewed,
)
from slipway.runtime.self_signed import certificate, secret

NAME = "slipway-status.slipway-system.svc"


async def handshake(made: Certificate, authority: str, name: str) -> str:
    """The version of TLS that a client which trusts only `authority` agrees on when it asks for `name`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=made.context())
    async with server:
        trust = ssl.create_default_context(cadata=authority)
        trust.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
        version = str(writer.get_extra_info("ssl_object").version())
        writer.close()
    return version


async def test_a_strict_client_accepts_each_name_and_no_other() -> None:
    made = certificate((NAME, "127.0.0.1"))
    assert await handshake(made, made.authority, NAME) == "TLSv1.3"
    assert await handshake(made, made.authority, "127.0.0.1") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await handshake(made, made.authority, "other.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(made, certificate((NAME,)).authority, NAME)
    assert made.key not in repr(made)


def test_a_mounted_certificate(tmp_path: Path) -> None:
    assert from_directory(tmp_path) is None
    assert from_directory(tmp_path / "absent") is None
    made, other = certificate((NAME,)), certificate((NAME,))
    (tmp_path / "tls.crt").write_text(made.chain)
    (tmp_path / "tls.key").write_text(made.key)
    with pytest.raises(CertificateError, match=r"ca\.crt"):
        from_directory(tmp_path)
    (tmp_path / "ca.crt").write_text(made.authority)
    assert from_directory(tmp_path) == made
    with pytest.raises(CertificateError, match="do not go together"):
        Certificate(made.chain, other.key, made.authority).context()


def test_what_this_pod_made_outlives_its_container_and_a_mounted_one_goes_first(tmp_path: Path) -> None:
    mounted, made = tmp_path / "mounted", tmp_path / "made"
    first = obtain(mounted, made, lambda: certificate((NAME,)))
    assert obtain(mounted, made, lambda: certificate((NAME,))) == first
    given = certificate((NAME,))
    _mount(given, mounted)
    assert obtain(mounted, made, lambda: certificate((NAME,))) == given


async def test_a_renewed_certificate_is_noticed_once_it_is_complete(tmp_path: Path) -> None:
    used, renewed = certificate((NAME,)), certificate((NAME,))
    _mount(used, tmp_path)
    watching = asyncio.ensure_future(until_renewed(tmp_path, used, seconds=0.01))
    (tmp_path / "ca.crt").unlink()
    done, _ = await asyncio.wait({watching}, timeout=0.1)
    assert not done
    _mount(renewed, tmp_path)
    with pytest.raises(CertificateChangedError):
        await asyncio.wait_for(watching, 60)


def _mount(made: Certificate, directory: Path) -> None:
    """As the kubelet does it with the Secret."""
    directory.mkdir(exist_ok=True)
    for name, text in secret(made)["data"].items():
        (directory / name).write_bytes(base64.b64decode(text))
