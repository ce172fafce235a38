"""Address of the API server and our credentials. `KubeConfig.load()` reads a pod's (in-cluster) or a kubeconfig file.

Called once at start by main and the tests; `kube.Kube` consumes the result. Exec plugins and cloud auth-providers are
refused in words rather than half supported: the operator runs in a pod, where none is needed.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slipway.runtime.tls import load_pair

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_REREAD_SECONDS = 60.0
"""Projected tokens are replaced at 80 % of their life (>= 10 minutes), so a minute late is early enough."""

_UNSUPPORTED_USER = ("exec", "auth-provider", "username", "as", "impersonate-user")


class KubeConfigError(Exception):
    """No usable configuration; the message says what is missing and where."""


@dataclass(frozen=True, slots=True)
class KubeConfig:
    """An API server's address and our credentials. `token_file` wins over `token`."""

    server: str
    ssl: ssl.SSLContext | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    namespace: str = "default"
    server_name: str | None = None

    @classmethod
    def load(
        cls, path: str | Path | None = None, context: str | None = None, environ: Mapping[str, str] = os.environ
    ) -> KubeConfig:
        """A given file, else $KUBECONFIG, else the pod's service account, else ~/.kube/config.

        `context` names one of the file's contexts, default its current one. Raises KubeConfigError.
        """
        if path is not None:
            return from_file([Path(path)], context)
        if environ.get("KUBECONFIG"):
            return from_file([Path(part) for part in environ["KUBECONFIG"].split(os.pathsep) if part], context)
        if environ.get("KUBERNETES_SERVICE_HOST") and context is None:
            return in_cluster(environ)
        return from_file([Path("~/.kube/config").expanduser()], context)


class Token:
    """The bearer token to send, re-read from its file now and then because the kubelet rotates it."""

    def __init__(self, config: KubeConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = config.token_file
        self._value = config.token
        self._clock = clock
        self._read_at = float("-inf")

    def value(self) -> str | None:
        """The current token; an unreadable file keeps the last one, which may live a while longer."""
        if self._file is not None and self._clock() - self._read_at >= TOKEN_REREAD_SECONDS:
            self._read_at = self._clock()
            try:
                self._value = self._file.read_text().strip()
            except OSError:
                if self._value is None:
                    raise
        return self._value

    def expire(self) -> bool:
        """Forget how fresh the token is (the server said 401); False if there is no file to read again."""
        self._read_at = float("-inf")
        return self._file is not None


def in_cluster(environ: Mapping[str, str], root: Path = SERVICE_ACCOUNT) -> KubeConfig:
    """The configuration that every pod with a service-account token has."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    token, authority = root / "token", root / "ca.crt"
    if not token.is_file() or not authority.is_file():
        raise KubeConfigError(f"no service-account token in {root}: is automountServiceAccountToken off?")
    namespace = root / "namespace"
    return KubeConfig(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ssl=ssl.create_default_context(cafile=str(authority)),
        token_file=token,
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
    )


def from_file(paths: list[Path], context: str | None = None) -> KubeConfig:
    """The configuration of one context out of kubeconfig files; as in kubectl, the first file to define a name wins."""
    documents = [(path, _read(path)) for path in paths if path.is_file()]
    if not documents:
        raise KubeConfigError(f"no kubeconfig at {', '.join(map(str, paths))}, and not in a pod")
    name = context or next((text for _, doc in documents if (text := doc.get("current-context"))), None)
    if not name:
        raise KubeConfigError(f"{documents[0][0]} names no current-context; set one or pass a context")
    chosen, _ = _named(documents, "contexts", "context", name)
    cluster, cluster_at = _named(documents, "clusters", "cluster", str(chosen.get("cluster")))
    user, user_at = _named(documents, "users", "user", str(chosen.get("user")))
    server = cluster.get("server")
    if not server:
        raise KubeConfigError(f"cluster {chosen.get('cluster')!r} in {cluster_at} has no server")
    if cluster.get("proxy-url"):
        raise KubeConfigError(f"cluster {chosen.get('cluster')!r} needs proxy-url, which is not supported here")
    for key in _UNSUPPORTED_USER:
        if user.get(key):
            raise KubeConfigError(
                f"user {chosen.get('user')!r} in {user_at} uses {key!r}, which is not supported here: "
                "use a client certificate or a token"
            )
    token_file = user.get("tokenFile")
    return KubeConfig(
        server=str(server).rstrip("/"),
        ssl=_context(cluster, cluster_at, user, user_at) if str(server).startswith("https") else None,
        token=user.get("token"),
        token_file=user_at.parent / token_file if token_file else None,
        namespace=chosen.get("namespace") or "default",
        server_name=cluster.get("tls-server-name"),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(document, dict):
        raise KubeConfigError(f"{path} is not a kubeconfig")
    return document


def _named(
    documents: list[tuple[Path, Mapping[str, Any]]], plural: str, singular: str, name: str
) -> tuple[Mapping[str, Any], Path]:
    """The named cluster, user or context, and the file that defines it (relative paths in it start there)."""
    for path, document in documents:
        for entry in document.get(plural) or ():
            if entry.get("name") == name:
                return entry.get(singular) or {}, path
    raise KubeConfigError(f"no {singular} {name!r} in {', '.join(str(path) for path, _ in documents)}")


def _context(cluster: Mapping[str, Any], cluster_at: Path, user: Mapping[str, Any], user_at: Path) -> ssl.SSLContext:
    try:
        authority = _material(cluster, "certificate-authority", cluster_at)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate = _material(user, "client-certificate", user_at)
        key = _material(user, "client-key", user_at)
        if certificate and key:
            load_pair(context, certificate, key)
    except (OSError, ssl.SSLError, binascii.Error, UnicodeDecodeError) as error:
        raise KubeConfigError(f"certificates in {cluster_at} or {user_at} cannot be used: {error}") from error
    return context


def _material(entry: Mapping[str, Any], key: str, at: Path) -> bytes | None:
    """The bytes of `key-data` (base64) or of the file that `key` names, relative to the kubeconfig."""
    if entry.get(f"{key}-data"):
        return base64.b64decode("".join(str(entry[f"{key}-data"]).split()), validate=True)
    return (at.parent / entry[key]).read_bytes() if entry.get(key) else None
