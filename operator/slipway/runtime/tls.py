"""Give a certificate and its key to an SSLContext from memory. Used by kubeconfig (client) and certificate (server)."""

from __future__ import annotations

import os
import ssl
import tempfile


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a certificate and its key, both in PEM, into the context. Raises ssl.SSLError or OSError.

    The ssl module reads files only. On Linux the file is memory, so that a read-only root file system is no obstacle
    and no key ever lies on a disk; elsewhere (a developer's machine) it is a temporary file for our eyes only.
    """
    pem = certificate + b"\n" + key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name)
