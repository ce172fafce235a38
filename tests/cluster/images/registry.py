"""A registry that images are pushed to: the user's own, named by SLIPWAY_IMAGE_REGISTRY or `make push REGISTRY=...`."""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.install.render import REGISTRY
from tests.cluster.base import ClusterError

VARIABLE = "SLIPWAY_IMAGE_REGISTRY"
INSECURE = "SLIPWAY_REGISTRY_INSECURE"
# The name by which the builders here know an image.
LOCAL = "localhost/slipway"
_PATIENCE = 5.0


@dataclass(frozen=True)
class Registry:
    """`prefix`: HOST[:PORT][/PATH]. `insecure`: reached without TLS, or without a certificate that is trusted."""

    prefix: str
    insecure: bool = False

    def reference(self, local: str, tag: str = "") -> str:
        """The name in the registry of an image of the builder; with its own tag, or another one."""
        name, _, own = local.removeprefix(f"{LOCAL}/").partition(":")
        return f"{self.prefix}/{name}:{tag or own}"

    def local(self, reference: str) -> str:
        """The builder's name of what was pushed under its own tag."""
        return f"{LOCAL}/{reference.removeprefix(f'{self.prefix}/')}"

    def ping(self) -> None:
        """Look whether it is one. Raises ClusterError within seconds, in words."""
        host = self.prefix.partition("/")[0]
        found: list[str] = []
        for scheme in ("https", "http") if self.insecure else ("https",):
            try:
                status = _status(f"{scheme}://{host}/v2/", self.insecure)
            except (OSError, http.client.HTTPException) as error:
                found.append(f"{scheme}: {error}")
                continue
            # 401: it wants to know who asks, and the push will tell.
            if status in {200, 401}:
                return
            found.append(f"{scheme}: status {status} for /v2/, which is no registry's")
        hint = "" if self.insecure else f"; {INSECURE}=1 for one without TLS"
        raise ClusterError(f"the registry {host} ({VARIABLE}) does not answer: {'; '.join(found)}{hint}")


def named(environment: Mapping[str, str] = os.environ) -> Registry | None:
    """The registry that the environment names, if any. Raises ClusterError for what is no name of one."""
    prefix = environment.get(VARIABLE, "").strip().rstrip("/")
    if not prefix:
        return None
    if not REGISTRY.fullmatch(prefix):
        raise ClusterError(
            f"{VARIABLE}={prefix}: HOST[:PORT][/PATH] is needed, such as registry.example.com/slipway; a name without "
            "a host would mean somebody's at Docker Hub"
        )
    insecure = environment.get(INSECURE, "") not in ("", "0") or _is_here(prefix)
    return Registry(prefix, insecure)


def _is_here(prefix: str) -> bool:
    host = prefix.partition("/")[0].partition(":")[0]
    return host == "localhost" or host.startswith("127.")


def _status(url: str, insecure: bool) -> int:
    """The status of a GET, through the proxy that the environment names, if any, as docker and buildah do it."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error
